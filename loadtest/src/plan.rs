//! What is sent. Request number `i` is a function of the seed, the settings and `i` alone, so a
//! plan of any size takes no memory, a duplicate needs no store of what was sent before (it is
//! written again, byte for byte), and several processes can share one plan: each sends what its
//! clients write.
//!
//! Who writes, what kind of request it is and the words follow from the seed; message ids and
//! `sent_at` also follow from the base time. A second run with the same seed therefore looks the
//! same, yet sends new messages: an old id with another time would be a conflicting duplicate.

mod flaws;
mod mix;
mod population;
mod shard;
mod spread;
#[cfg(test)]
mod tests;
mod text;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use schemas::Timestamp;
use serde::Serialize;

pub use flaws::{FLAWS, Flaw};
pub use mix::{Mix, MixError};
pub use population::{
    ADDRESSES_MAX, CLIENTS_MAX, CLIENTS_MIN, Client, ClientIndex, EXAMPLE_CLIENTS, SOURCES_MIN,
};
pub use shard::{Shard, ShardError};
pub use spread::{Spread, SpreadError};

use population::Population;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Another seed, another plan.
    pub seed: u64,
    /// How many requests, of every kind together.
    pub messages: u64,
    /// How many people write, at most: some may not get a turn.
    pub clients: u32,
    /// How many values of `external_client_id` they write through.
    pub sources: u32,
    pub spread: Spread,
    /// Of a hundred clients so many have an address and no phone, and as many a phone with an alias.
    pub addresses: u32,
    /// The shares of valid, duplicate and invalid requests.
    pub mix: Mix,
    /// Which of the processes that share the plan this one is.
    pub shard: Shard,
    /// About when the messages were sent.
    pub base_time: Timestamp,
}

impl Settings {
    /// What `loadtest run` sends where nothing else is asked for.
    pub fn usual(base_time: Timestamp) -> Self {
        Self {
            seed: 1,
            messages: 20_000,
            clients: 2_000,
            sources: 20,
            spread: Spread::default(),
            addresses: 10,
            mix: Mix::default(),
            shard: Shard::WHOLE,
            base_time,
        }
    }
}

/// Settings that no plan follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More than can be remembered.
    #[error("rate and duration make too many messages: {max} at most")]
    Messages { max: u64 },
    /// Fewer than the two example clients, or more than there are artificial phones.
    #[error("clients must lie between {CLIENTS_MIN} and {CLIENTS_MAX}")]
    Clients,
    /// More than have a phone of their own, without which they would share it.
    #[error("at most {ADDRESSES_MAX} of a hundred clients can be without a phone")]
    Addresses,
    /// Too few to have one phone under several of them.
    #[error("sources must be at least {SOURCES_MIN}: one phone writes through up to as many")]
    Sources,
}

/// What a request is meant to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Valid,
    /// The same bytes as an earlier valid message.
    Duplicate {
        /// The index of that message's first request.
        of: u64,
    },
    Invalid(&'static Flaw),
}

/// One request of the plan, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub index: u64,
    pub client: ClientIndex,
    pub kind: Kind,
}

impl Request {
    /// The status that an ingest API in order answers.
    pub fn expected_status(&self) -> u16 {
        match self.kind {
            Kind::Valid | Kind::Duplicate { .. } => 202,
            Kind::Invalid(flaw) => flaw.status(),
        }
    }

    /// The request that carried this message first: itself, unless it is a duplicate.
    pub fn original(&self) -> u64 {
        match self.kind {
            Kind::Valid | Kind::Invalid(_) => self.index,
            Kind::Duplicate { of } => of,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Plan {
    settings: Settings,
    population: Population,
    /// Tells the ids of this run from those of another base time or seed.
    run: u64,
    id_prefix: String,
}

/// Independent series of random numbers for one request.
#[derive(Clone, Copy)]
enum Stream {
    Kind,
    Content,
}

/// Half of the duplicates come this soon after their original, the others any time later.
const SOON: u64 = 8;

/// An original is looked for this often before the very first message is taken.
const ORIGINAL_TRIES: u32 = 64;

/// How many messages the example clients together are sure to get, in a plan that is not tiny.
const EXAMPLE_MESSAGES: u64 = 12;

impl Plan {
    pub fn new(settings: Settings) -> Result<Self, PlanError> {
        let population = Population::new(&settings)?;
        let base_time = settings.base_time.as_micros().cast_unsigned();
        let run = mixed(mixed(settings.seed, settings.shard.index().into()), base_time) >> 16;
        Ok(Self { settings, population, run, id_prefix: format!("lt-{run:012x}-") })
    }

    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A number that another run is very unlikely to have: 48 bits.
    pub const fn run(&self) -> u64 {
        self.run
    }

    /// The account and the address of a client.
    pub fn client(&self, index: ClientIndex) -> Client {
        self.population.client(index)
    }

    /// This process's requests, in the order in which they are due.
    pub fn requests(&self) -> impl Iterator<Item = Request> {
        let all = (0..self.settings.messages).map(|index| self.request(index));
        all.filter(|request| self.settings.shard.has(request.client))
    }

    /// About how many requests this process has.
    pub fn messages(&self) -> u64 {
        self.settings.messages / u64::from(self.settings.shard.count())
    }

    /// What the ids of this run's messages begin with.
    pub fn id_prefix(&self) -> &str {
        &self.id_prefix
    }

    /// The id of the message that a request carries, if it is one that can be taken.
    pub fn external_message_id(&self, request: &Request) -> String {
        format!("{}{}", self.id_prefix(), request.original())
    }

    pub fn request(&self, index: u64) -> Request {
        let mut draws = self.draws(Stream::Kind, index);
        let kind = match self.share(index, &mut draws) {
            mix::Share::Duplicate if index > 0 => Kind::Duplicate { of: self.earlier(index, &mut draws) },
            mix::Share::Valid | mix::Share::Duplicate => Kind::Valid,
            mix::Share::Invalid => Kind::Invalid(flaws::pick(&mut draws)),
        };
        let client = match kind {
            Kind::Duplicate { of } => self.request(of).client,
            Kind::Valid | Kind::Invalid(_) => {
                self.example_due(index).unwrap_or_else(|| self.population.pick(&mut draws))
            }
        };
        Request { index, client, kind }
    }

    /// The words of the message that a request carries.
    pub fn text(&self, request: &Request) -> String {
        self.draft(request.original(), request.client).text
    }

    pub fn body(&self, request: &Request) -> Vec<u8> {
        let mut body = Vec::new();
        self.write_body(request, &mut body);
        body
    }

    pub fn write_body(&self, request: &Request, bodies: &mut Vec<u8>) {
        let draft = self.draft(request.original(), request.client);
        match request.kind {
            // Writing to memory cannot fail, and every key is a string.
            Kind::Valid | Kind::Duplicate { .. } => serde_json::to_writer(bodies, &draft).unwrap_or_default(),
            Kind::Invalid(flaw) => bodies.extend_from_slice(&flaw.spoil(&draft.of_a_phone())),
        }
    }

    fn draft(&self, index: u64, client: ClientIndex) -> Draft {
        let mut draws = self.draws(Stream::Content, index);
        let Client { external_client_id, address, aliases } = self.client(client);
        let phone = address.starts_with('+').then(|| population::spelled(&address, &mut draws));
        let before_micros = draws.random_range(0..5_000_000);
        let sent_at = Timestamp::from_micros(self.settings.base_time.as_micros() - before_micros);
        Draft {
            external_client_id,
            client_address: phone.is_none().then_some(address),
            client_phone: phone,
            external_message_id: format!("{}{index}", self.id_prefix()),
            text: text::compose(client, &mut draws),
            // The field is optional.
            sent_at: sent_at.filter(|_| draws.random_ratio(9, 10)).map(|time| time.to_string()),
            aliases,
        }
    }

    fn share(&self, index: u64, draws: &mut Xoshiro256PlusPlus) -> mix::Share {
        match self.example_due(index) {
            Some(_) => mix::Share::Valid,
            None => self.settings.mix.pick(draws),
        }
    }

    /// An earlier valid message. What is due at index 0 is valid whenever anything is.
    fn earlier(&self, index: u64, draws: &mut Xoshiro256PlusPlus) -> u64 {
        let soon = draws.random_bool(0.5);
        (0..ORIGINAL_TRIES)
            .map(|_| match soon {
                true => index - draws.random_range(1..=index.min(SOON)),
                false => draws.random_range(0..index),
            })
            .find(|&earlier| {
                let share = self.share(earlier, &mut self.draws(Stream::Kind, earlier));
                share == mix::Share::Valid
            })
            .unwrap_or_default()
    }

    /// Whether it is an example client's turn, and whose: their turns are spread evenly over the
    /// plan, so that a reader of the database finds them whatever the seed is.
    fn example_due(&self, index: u64) -> Option<ClientIndex> {
        if !self.settings.mix.has_valid() {
            return None;
        }
        let messages = self.settings.messages.max(1);
        let turns = (messages / 5).clamp(u64::from(EXAMPLE_CLIENTS), EXAMPLE_MESSAGES);
        let position = index.saturating_mul(turns);
        let turn = (position / messages) % u64::from(EXAMPLE_CLIENTS);
        (position % messages < turns).then(|| ClientIndex(u32::from(turn == 1)))
    }

    fn draws(&self, stream: Stream, index: u64) -> Xoshiro256PlusPlus {
        let series = match stream {
            Stream::Kind => mixed(self.settings.seed, 1),
            Stream::Content => mixed(self.settings.seed, 2),
        };
        Xoshiro256PlusPlus::seed_from_u64(mixed(series, index))
    }
}

/// A message as it will stand in the body.
#[derive(Debug, Serialize)]
struct Draft {
    external_client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
    external_message_id: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
}

impl Draft {
    /// The same of a client with a phone, which every flaw can spoil.
    fn of_a_phone(self) -> Self {
        let phone = self.client_phone.unwrap_or_else(|| population::phone(0));
        Self { client_phone: Some(phone), client_address: None, aliases: Vec::new(), ..self }
    }

    fn to_json(&self) -> Vec<u8> {
        // Writing to memory cannot fail, and every key is a string.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Number `index` of `SplitMix64` started at `seed`: neighbours have nothing in common.
fn mixed(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
