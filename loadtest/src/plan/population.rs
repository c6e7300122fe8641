//! Who writes: clients by number, their accounts and addresses, and how unevenly they write.
//!
//! A client's number says everything about it, so that a population of any size takes no memory.

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use schemas::{Address, ClientId, ExternalClientId, ids::Violation};

use super::{PlanError, Settings, Spread, mixed};

/// The example clients of the specification come first: one phone, two sources.
pub const EXAMPLE_CLIENTS: u32 = 2;
pub const CLIENTS_MIN: u32 = EXAMPLE_CLIENTS;
/// Their phones, seven for ten clients, still fit into seven digits.
pub const CLIENTS_MAX: u32 = 10_000_000;
/// A phone is used through up to three sources.
pub const SOURCES_MIN: u32 = 3;
/// So many of a hundred clients have a phone that nobody shares.
pub const ADDRESSES_MAX: u32 = 50;
/// What the addresses of clients without a phone begin with.
const SCHEMES: [&str; 4] = ["wa:GB.", "tg:", "viber:", "wa-lid:"];

/// The number of a client. Low numbers write much, high numbers little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientIndex(pub u32);

/// The pair that makes a client.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    pub external_client_id: String,
    /// A phone without separators, or `scheme:id`. All phones begin with `+7000`, which nobody has.
    pub address: String,
    /// What each of its messages names besides, sorted.
    pub aliases: Vec<String>,
}

impl Client {
    /// The id under which Telex files this client's messages.
    ///
    /// # Errors
    /// The pair is not a valid one, which the tests of this crate rule out.
    pub fn client_id(&self) -> Result<ClientId, Violation> {
        let source = ExternalClientId::parse(self.external_client_id.as_str())?;
        Ok(ClientId::of(&source, &Address::parse(&self.address)?))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    clients: u32,
    sources: u32,
    spread: Spread,
    addresses: u32,
}

impl Population {
    pub(super) fn new(settings: &Settings) -> Result<Self, PlanError> {
        let Settings { clients, sources, spread, addresses, .. } = *settings;
        if !(CLIENTS_MIN..=CLIENTS_MAX).contains(&clients) {
            return Err(PlanError::Clients);
        }
        if sources < SOURCES_MIN {
            return Err(PlanError::Sources);
        }
        if addresses > ADDRESSES_MAX {
            return Err(PlanError::Addresses);
        }
        Ok(Self { clients, sources, spread, addresses })
    }

    pub(super) fn pick(self, draws: &mut Xoshiro256PlusPlus) -> ClientIndex {
        match self.clients - EXAMPLE_CLIENTS {
            0 => ClientIndex(draws.random_range(0..EXAMPLE_CLIENTS)),
            others => ClientIndex(EXAMPLE_CLIENTS + self.spread.place(others, draws.random())),
        }
    }

    /// Of every ten clients, five have a phone of their own, two share one and three share
    /// another, each through a source of its own. Of the first five some have another address instead, and of
    /// the others as many name one as an alias.
    pub(super) fn client(self, index: ClientIndex) -> Client {
        let Some(place) = index.0.checked_sub(EXAMPLE_CLIENTS) else {
            return Client { external_client_id: source(index.0), address: phone(0), aliases: Vec::new() };
        };
        let (person, nth_source) = match place % 10 {
            alone @ 0..=4 => (alone, 0),
            pair @ 5..=6 => (5, pair - 5),
            three => (6, three - 7),
        };
        let person = 1 + place / 10 * 7 + person;
        let first_source = mixed(u64::from(person), 0) % u64::from(self.sources);
        let source_of_client = (first_source + u64::from(nth_source)) % u64::from(self.sources);
        let external_client_id = source(source_of_client);
        let (address, aliases) = match (self.has_another(person), place % 10) {
            (false, _) => (phone(person), Vec::new()),
            (true, 0..=4) => (another(person), vec![phone(person), format!("username:lt_{person}")]),
            (true, _) => (phone(person), vec![another(person)]),
        };
        Client { external_client_id, address, aliases }
    }

    /// Whether a person has another address than a phone: of both halves of the clients twice the share of all.
    fn has_another(self, person: u32) -> bool {
        mixed(u64::from(person), 1) % 100 < u64::from(2 * self.addresses)
    }
}

/// An address of a person that is no phone.
fn another(person: u32) -> String {
    let scheme = usize::try_from(person % 4).ok().and_then(|at| SCHEMES.get(at)).copied();
    format!("{}9{person:07}", scheme.unwrap_or("tg:"))
}

fn source(number: impl Into<u64>) -> String {
    format!("client{:026}", number.into())
}

pub(super) fn phone(person: u32) -> String {
    format!("+7000{person:07}")
}

/// A phone as a source may spell it: mostly plain, now and then with separators.
pub(super) fn spelled(phone: &str, draws: &mut Xoshiro256PlusPlus) -> String {
    let separators = match draws.random_range(0..10) {
        0 => [" (", ") ", "-", "-"],
        1 => [" ", " ", " ", " "],
        _ => return phone.to_owned(),
    };
    let mut spelled = String::with_capacity(phone.len() + 6);
    for (place, character) in phone.chars().enumerate() {
        // +7 000 123 45 67
        let separator = match place {
            2 => separators.first(),
            5 => separators.get(1),
            8 => separators.get(2),
            10 => separators.get(3),
            _ => None,
        };
        spelled.extend(separator.copied());
        spelled.push(character);
    }
    spelled
}
