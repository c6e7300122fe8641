//! Who writes: clients by number, their accounts and phones, and how unevenly they write.
//!
//! A client's number says everything about it, so that a population of any size takes no memory.

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use schemas::{ClientId, ExternalClientId, Phone, ids::Violation};

use super::{PlanError, Spread, mixed};

/// The example clients of the specification come first: one phone, two sources.
pub const EXAMPLE_CLIENTS: u32 = 2;
pub const CLIENTS_MIN: u32 = EXAMPLE_CLIENTS;
/// Their phones, seven for ten clients, still fit into seven digits.
pub const CLIENTS_MAX: u32 = 10_000_000;
/// A phone is used through up to three sources.
pub const SOURCES_MIN: u32 = 3;

/// The number of a client. Low numbers write much, high numbers little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientIndex(pub u32);

/// The pair that makes a client.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    pub external_client_id: String,
    /// The phone, without separators. All begin with `+7000`, which nobody has.
    pub phone: String,
}

impl Client {
    /// The id under which Telex files this client's messages.
    ///
    /// # Errors
    /// The pair is not a valid one, which the tests of this crate rule out.
    pub fn client_id(&self) -> Result<ClientId, Violation> {
        let source = ExternalClientId::parse(self.external_client_id.as_str())?;
        Ok(ClientId::of(&source, &Phone::parse(&self.phone)?.into()))
    }
}

/// All clients of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    clients: u32,
    sources: u32,
    spread: Spread,
}

impl Population {
    pub(super) fn new(clients: u32, sources: u32, spread: Spread) -> Result<Self, PlanError> {
        if !(CLIENTS_MIN..=CLIENTS_MAX).contains(&clients) {
            return Err(PlanError::Clients);
        }
        if sources < SOURCES_MIN {
            return Err(PlanError::Sources);
        }
        Ok(Self { clients, sources, spread })
    }

    pub(super) fn pick(self, draws: &mut Xoshiro256PlusPlus) -> ClientIndex {
        match self.clients - EXAMPLE_CLIENTS {
            0 => ClientIndex(draws.random_range(0..EXAMPLE_CLIENTS)),
            others => ClientIndex(EXAMPLE_CLIENTS + self.spread.place(others, draws.random())),
        }
    }

    /// Of every ten clients, five have a phone of their own, two share one and three share
    /// another, each through a source of its own.
    pub(super) fn client(self, index: ClientIndex) -> Client {
        let Some(place) = index.0.checked_sub(EXAMPLE_CLIENTS) else {
            return Client { external_client_id: source(index.0), phone: phone(0) };
        };
        let (person, nth_source) = match place % 10 {
            alone @ 0..=4 => (alone, 0),
            pair @ 5..=6 => (5, pair - 5),
            three => (6, three - 7),
        };
        let person = 1 + place / 10 * 7 + person;
        let first_source = mixed(u64::from(person), 0) % u64::from(self.sources);
        let source_of_client = (first_source + u64::from(nth_source)) % u64::from(self.sources);
        Client { external_client_id: source(source_of_client), phone: phone(person) }
    }
}

fn source(number: impl Into<u64>) -> String {
    format!("client{:026}", number.into())
}

fn phone(person: u32) -> String {
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
