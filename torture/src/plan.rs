//! What is sent: a function of the seed and a number. Nine in ten are new messages, the others what producers
//! do wrong: the same again, an id used twice, things that are no message.

use serde_json::{Map, Value};

use crate::{identity, random::Random, wire::batch::Header};

/// What everything that is sent follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub clients: u64,
}

/// One phone under several sources is several clients.
const SOURCES: [&str; 4] = ["tg", "shop Ö", "client00000000000000000000000000", "wa:7"];
/// How far back a repetition goes.
const BACK: u64 = 300;

/// A request's body, and what it means.
#[derive(Debug)]
pub struct Sent {
    /// As it goes over the wire.
    pub body: String,
    /// What it says; `None`: it must be refused.
    pub message: Option<Message>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub client_id: String,
    pub external_client_id: String,
    /// A normalised phone, or a scheme and an id.
    pub address: String,
    /// Other addresses that this sending names, each once, and not the client's own.
    pub aliases: Vec<String>,
    /// Unique per client.
    pub external_message_id: String,
    pub text: String,
    /// In UTC with microseconds.
    pub sent_at: Option<String>,
    pub value: Vec<u8>,
}

enum Kind {
    New,
    Repeats(u64),
    Conflicts(u64),
    Invalid,
}

pub fn request(plan: Plan, number: u64) -> Sent {
    let mut random = Random::new(plan.seed, number);
    match kind(plan.seed, number) {
        Kind::New => spell(&original(plan, number), &mut random),
        Kind::Repeats(of) => spell(&original(plan, of), &mut random),
        Kind::Conflicts(with) => {
            let mut message = original(plan, with);
            message.insert("text".to_owned(), format!("another body, number {number}").into());
            spell(&message, &mut random)
        }
        Kind::Invalid => Sent { body: invalid(&mut random), message: None },
    }
}

/// A new message, whatever else has the number.
pub fn message(plan: Plan, number: u64) -> Sent {
    spell(&original(plan, number), &mut Random::new(plan.seed, number))
}

/// The type of the event that a message with a phone and without aliases is.
pub const MESSAGE_TYPE: &str = "telex.message.received.v2";
pub const MESSAGE_TYPE_WITH_ADDRESSES: &str = "telex.message.received.v3";

impl Message {
    /// The type of the event that it is.
    pub fn event_type(&self) -> &'static str {
        match self.address.starts_with('+') && self.aliases.is_empty() {
            true => MESSAGE_TYPE,
            false => MESSAGE_TYPE_WITH_ADDRESSES,
        }
    }
}

/// The headers of a message's record, as an API with the contract in hand writes them.
pub fn headers(message: &Message, request_id: &str) -> Vec<Header> {
    let pairs = [
        ("ce_specversion", "1.0"),
        ("ce_id", &message.external_message_id),
        ("ce_source", "torture"),
        ("ce_type", message.event_type()),
        ("ce_time", "2026-11-24T00:00:00.000000Z"),
        ("content-type", "application/json"),
        ("x-request-id", request_id),
    ];
    pairs.map(|(name, value)| (name.into(), Some(value.into()))).into()
}

/// The id of a client by its number.
pub fn client(plan: Plan, number: u64) -> String {
    let (source, address) = pair(number % plan.clients);
    identity::client_id(source, &address)
}

fn kind(seed: u64, number: u64) -> Kind {
    let mut random = Random::new(seed ^ 0x6b69_6e64, number);
    let roll = random.below(100);
    let earlier = number.checked_sub(1 + random.below(BACK)).filter(|earlier| is_new(seed, *earlier));
    match (roll, earlier) {
        (0..4, _) => Kind::Invalid,
        (4..9, Some(earlier)) => Kind::Repeats(earlier),
        (9..11, Some(earlier)) => Kind::Conflicts(earlier),
        _ => Kind::New,
    }
}

fn is_new(seed: u64, number: u64) -> bool {
    Random::new(seed ^ 0x6b69_6e64, number).below(100) >= 11
}

fn pair(client: u64) -> (&'static str, String) {
    let source = usize::try_from(client % 4).ok().and_then(|at| SOURCES.get(at)).copied();
    let person = client / 4;
    // One in five has no phone. Ids begin with zeros that count, and hold colons.
    let address = match person % 5 {
        4 if person.is_multiple_of(2) => format!("tg:{person:04}"),
        4 => format!("wa:GB.{person}:x"),
        _ => format!("+7999{person:07}"),
    };
    (source.unwrap_or("tg"), address)
}

/// The fields of a new message, in their canonical spelling.
fn original(plan: Plan, number: u64) -> Map<String, Value> {
    let Plan { seed, clients } = plan;
    let mut random = Random::new(seed ^ 0x6f72_6967, number);
    let (source, address) = pair(random.below(clients));
    let text = match random.below(10) {
        0 => String::new(),
        1 => "quotes \" and \\ and / and \u{7} and \u{1f600} and </script>".to_owned(),
        2 => "a longer text, ".repeat(60),
        _ => format!("message number {number}"),
    };
    let mut fields = Map::new();
    fields.insert("external_client_id".to_owned(), source.into());
    fields.insert(address_name(&address).to_owned(), address.into());
    fields.insert("external_message_id".to_owned(), format!("m-{seed:x}-{number}").into());
    fields.insert("text".to_owned(), text.into());
    if random.chance(40) {
        fields.insert("sent_at".to_owned(), "2026-11-24T04:35:00.500000Z".into());
    }
    fields
}

fn address_name(address: &str) -> &'static str {
    if address.starts_with('+') { "client_phone" } else { "client_address" }
}

/// Other addresses of a person as a producer writes them, and as they are kept. They are no part of the message: the
/// same one names others when it is sent again.
fn aliases(address: &str, random: &mut Random) -> (Option<String>, Vec<String>) {
    if !random.chance(30) {
        return (None, Vec::new());
    }
    let person = address.bytes().map(u64::from).sum::<u64>() % 50;
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..=random.below(4).min(3) {
        let (spelled, canonical) = match random.below(6) {
            0 => (address.to_owned(), None),
            1 => (format!("+7 (888) {person:07}"), Some(format!("+7888{person:07}"))),
            2 => ("username:a\\u200bb".to_owned(), None),
            kind => {
                let id = format!("{}:{person}", if kind == 3 { "username" } else { "viber" });
                (id.clone(), Some(id))
            }
        };
        written.push(format!("\"{spelled}\""));
        if let Some(alias) = canonical.filter(|alias| !kept.contains(alias)) {
            kept.push(alias);
        }
    }
    (Some(format!("[{}]", written.join(", "))), kept)
}

/// The same message as another producer would write it: other order, white space, spelling.
fn spell(fields: &Map<String, Value>, random: &mut Random) -> Sent {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let extras = extras(random);
    let address = format!("{}{}", text("client_phone"), text("client_address"));
    let (written, aliases) = aliases(&address, random);
    let message = Message {
        client_id: identity::client_id(&text("external_client_id"), &address),
        external_client_id: text("external_client_id"),
        external_message_id: text("external_message_id"),
        text: text("text"),
        sent_at: fields.get("sent_at").and_then(Value::as_str).map(str::to_owned),
        value: value(fields, &aliases, &extras),
        address,
        aliases,
    };
    let mut parts: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
                "client_phone" if random.chance(50) => spell_phone(&text(name)),
                "sent_at" if random.chance(50) => "2026-11-24T07:35:00.5+03:00".into(),
                _ => value.clone(),
            };
            let space = if random.chance(50) { " " } else { "" };
            format!("{space}\"{name}\"{space}:{space}{value}")
        })
        .chain(extras)
        .chain(written.map(|aliases| format!("\"aliases\": {aliases}")))
        .collect();
    let turn = usize::try_from(random.below(parts.len() as u64)).unwrap_or_default();
    parts.rotate_left(turn);
    Sent { body: format!("{{{}}}", parts.join(",")), message: Some(message) }
}

/// The record's value: Telex's own fields in their order, then the producer's members as they came.
fn value(fields: &Map<String, Value>, aliases: &[String], extras: &[String]) -> Vec<u8> {
    let own =
        ["external_client_id", "client_phone", "client_address", "external_message_id", "text", "sent_at"];
    let own = own.iter().filter_map(|name| Some(format!("\"{name}\":{}", fields.get(*name)?)));
    let aliases = (!aliases.is_empty()).then(|| format!("\"aliases\":{}", Value::from(aliases)));
    let members: Vec<String> = own.chain(aliases).chain(extras.iter().cloned()).collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

/// A member that counts the attempts and what a parser would change, so that no two spellings of a message are
/// equal in it.
fn extras(random: &mut Random) -> Vec<String> {
    match random.below(5) {
        0 => {
            let attempt = random.below(1_000);
            vec![format!(
                r#""channel":{{"zulu":[true,null,1.50,1e400,"\ud83d"],"attempt":{attempt},"attempt":0}}"#
            )]
        }
        _ => Vec::new(),
    }
}

fn spell_phone(phone: &str) -> Value {
    let (country, rest) = phone.split_at_checked(2).unwrap_or((phone, ""));
    let (area, rest) = rest.split_at_checked(3).unwrap_or((rest, ""));
    format!("{country} ({area}) {rest}").into()
}

fn invalid(random: &mut Random) -> String {
    const BODIES: [&str; 9] = [
        r#"{"external_client_id":"tg","client_phone":"+79990000000","external_message_id":"1"}"#,
        r#"{"external_client_id":"tg","client_phone":"89990000000","external_message_id":"1","text":"x"}"#,
        r#"{"external_client_id":"tg","client_phone":"+79990000000","external_message_id":"1","text":"\u0000"}"#,
        r#"{"external_client_id":"","client_phone":"+79990000000","external_message_id":"1","text":"x"}"#,
        r#"{"external_client_id":"tg","client_phone":"+79990000000","text":"x","text":"y","external_message_id":"1"}"#,
        r#"{"external_client_id":"tg","client_phone":"+79990000000","client_address":"tg:1","external_message_id":"1","text":"x"}"#,
        r#"{"external_client_id":"tg","client_address":"username:x","external_message_id":"1","text":"x"}"#,
        r#"{"external_client_id":"tg","client_address":"tg:1","external_message_id":"1","text":"x","aliases":["a","b","c","d","e"]}"#,
        "{",
    ];
    let at = usize::try_from(random.below(9)).unwrap_or_default();
    BODIES.get(at).copied().unwrap_or("{").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_requests_again_and_another_gives_others() {
        let bodies = |seed| {
            let plan = Plan { seed, clients: 160 };
            (0..200).map(|number| request(plan, number).body).collect::<Vec<_>>()
        };
        assert_eq!(bodies(7), bodies(7));
        assert_ne!(bodies(7), bodies(8));
    }

    #[test]
    fn all_kinds_of_requests_are_among_a_thousand() {
        let sent: Vec<Sent> =
            (0..1_000).map(|number| request(Plan { seed: 3, clients: 160 }, number)).collect();
        let mut ids: Vec<(&str, &str)> = sent
            .iter()
            .filter_map(|sent| sent.message.as_ref())
            .map(|message| (message.client_id.as_str(), message.external_message_id.as_str()))
            .collect();
        let valid = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert!((930..990).contains(&valid), "{valid}");
        assert!((30..100).contains(&(valid - ids.len())), "{} repetitions", valid - ids.len());
        let messages = || sent.iter().filter_map(|sent| sent.message.as_ref());
        let without_phone = messages().filter(|message| !message.address.starts_with('+')).count();
        let naming = messages().filter(|message| !message.aliases.is_empty()).count();
        assert!((100..300).contains(&without_phone), "{without_phone}");
        assert!((150..350).contains(&naming), "{naming}");
    }

    #[test]
    fn the_known_pair_has_the_known_id() {
        let id = identity::client_id("client00000000000000000000000000", "+70000000000");
        assert_eq!(id, "e60660c7-bd8f-5ba9-b814-6dbee9550932");
        assert_eq!(identity::partition_of(id.as_bytes(), 12), 1);
        assert_eq!(identity::partition_of(id.as_bytes(), 64), 17);
    }
}
