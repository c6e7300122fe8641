//! Topics that are hard to fold: few clients, few ids, repeats from long ago, reused ids, closes, silences
//! around the gap, a clock that steps back, rules that change.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use processor::domain::{
    decode::Record,
    position::Offset,
    record::{Header, RawRecord},
    rules::{DialogRule, DialogRules, IdleGap, PartitionRules},
};
use schemas::{
    ClientId, Envelope, Event, ExternalClientId, Message, Partition, PartitionCount, Phone, Timestamp, record,
};
use uuid::Uuid;

pub const PARTITIONS: usize = 2;
/// In half of them `external_client_id` begins with `quiet-`.
const CLIENTS: usize = 6;
const BASE_MS: i64 = 1_764_000_000_000;

/// What a record says, before it is written down as bytes.
#[derive(Debug, Clone)]
pub enum Says {
    /// The aliases are in no order, and some stand twice.
    Message {
        id: u8,
        text: u8,
        aliases: Vec<u8>,
    },
    Close,
    Nothing,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub client: usize,
    pub says: Says,
    pub appended_ms: i64,
}

/// From an offset on: the gaps of all, and of those that are quiet, in seconds. `None`: no rule; 0: never.
#[derive(Debug, Clone)]
pub struct Version {
    pub from: i64,
    pub all: Option<i64>,
    pub quiet: Option<i64>,
}

#[derive(Debug)]
pub struct TopicPartition {
    pub id: Partition,
    pub entries: Vec<Entry>,
    pub versions: Vec<Version>,
    pub records: Vec<Arc<Record>>,
}

#[derive(Debug)]
pub struct Topic {
    pub id: Uuid,
    pub partitions: Vec<TopicPartition>,
}

pub fn topics() -> impl Strategy<Value = Topic> {
    prop::collection::vec((entries(), versions()), PARTITIONS).prop_map(|partitions| Topic {
        id: Uuid::from_u128(7),
        partitions: (0..)
            .zip(partitions)
            .map(|(id, (entries, versions))| partition(id, entries, versions))
            .collect(),
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let says = prop_oneof![
        12 => (0..8_u8, prop_oneof![8 => Just(0_u8), 1 => Just(1)], aliases())
            .prop_map(|(id, text, aliases)| Says::Message { id, text, aliases }),
        2 => Just(Says::Close),
        1 => Just(Says::Nothing),
    ];
    // A gap is 1 to 4 seconds.
    let step_ms =
        prop_oneof![6 => 0..900_i64, 2 => 900..4_200_i64, 1 => 4_000..9_000_i64, 1 => -3_000..0_i64];
    prop::collection::vec((0..CLIENTS, says, step_ms), 0..50).prop_map(|steps| {
        let mut now = BASE_MS;
        let entry = |(client, says, step_ms): (usize, Says, i64)| {
            now += step_ms;
            Entry { client, says, appended_ms: now }
        };
        steps.into_iter().map(entry).collect()
    })
}

fn aliases() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(0..6_u8, 1..5)]
}

fn versions() -> impl Strategy<Value = Vec<Version>> {
    let gap = || prop_oneof![1 => Just(None), 3 => (1..5_i64).prop_map(Some), 1 => Just(Some(0))];
    let version = (0..50_i64, gap(), gap()).prop_map(|(from, all, quiet)| Version { from, all, quiet });
    prop::collection::vec(version, 0..4).prop_map(|mut versions| {
        versions.sort_by_key(|version| version.from);
        versions
    })
}

fn partition(id: i32, entries: Vec<Entry>, versions: Vec<Version>) -> TopicPartition {
    let id = Partition(id);
    let mut rules = PartitionRules::new(id, count());
    for version in &versions {
        let rule = |prefix: &str, gap: Option<i64>| {
            gap.map(|gap| DialogRule { prefix: prefix.to_owned(), idle_gap: IdleGap::from_seconds(gap) })
        };
        let set = [rule("", version.all), rule("quiet-", version.quiet)].into_iter().flatten().collect();
        rules.follow_from(Offset(version.from), Arc::new(DialogRules::new(set)));
    }
    let records =
        (0..).zip(&entries).map(|(offset, entry)| Arc::new(written(id, offset, entry, &rules))).collect();
    TopicPartition { id, entries, versions, records }
}

fn count() -> PartitionCount {
    PartitionCount::new(i32::try_from(PARTITIONS).unwrap()).unwrap()
}

struct Client {
    external: &'static str,
    phone: String,
    id: ClientId,
}

/// The clients of each partition.
static ALL: LazyLock<Vec<Vec<Client>>> = LazyLock::new(|| {
    let of = |partition: i32| (0..CLIENTS).map(|number| client(Partition(partition), number)).collect();
    (0..).take(PARTITIONS).map(of).collect()
});

fn client(partition: Partition, number: usize) -> Client {
    let external = if is_quiet(number) { "quiet-source" } else { "source" };
    let parsed = ExternalClientId::parse(external).unwrap();
    let candidates = (0..).map(|n: u32| {
        let phone = format!("+7000000{n:04}");
        Client { external, id: ClientId::of(&parsed, &Phone::parse(&phone).unwrap().into()), phone }
    });
    candidates.filter(|client| client.id.partition(count()) == partition).nth(number).unwrap()
}

fn known(partition: Partition, number: usize) -> &'static Client {
    ALL.get(usize::try_from(partition.0).unwrap()).unwrap().get(number).unwrap()
}

pub const fn is_quiet(number: usize) -> bool {
    number % 2 == 1
}

pub fn client_id(partition: Partition, number: usize) -> ClientId {
    known(partition, number).id
}

/// Phones and ids; one of each is never the client's own.
pub fn alias(number: &u8) -> String {
    if number.is_multiple_of(2) { format!("+7111000000{number}") } else { format!("tg:{number}") }
}

fn written(partition: Partition, offset: i64, entry: &Entry, rules: &PartitionRules) -> Record {
    let appended_at = Timestamp::from_millis(entry.appended_ms).unwrap();
    let Client { external, phone, id: client_id } = known(partition, entry.client);
    let event = match &entry.says {
        Says::Message { id, text, aliases } => {
            let aliases: Vec<String> = aliases.iter().map(alias).collect();
            let body = format!(
                r#"{{"external_client_id":"{external}","client_phone":"{phone}","external_message_id":"m-{id}","text":"{text}","aliases":{aliases:?}}}"#
            );
            Event::MessageReceived(Box::new(Message::parse(body.as_bytes(), appended_at).unwrap()))
        }
        Says::Close | Says::Nothing => Event::DialogClose(record::DialogClose { client_id: *client_id }),
    };
    let envelope = Envelope { received_at: appended_at, request_id: None, trace_parent: None };
    let encoded = record::encode(&event, &envelope);
    let value = if matches!(entry.says, Says::Nothing) { b"{".as_slice() } else { encoded.value.as_slice() };
    let headers: Vec<Header<'_>> =
        encoded.headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
    let (offset, key) = (Offset(offset), Some(encoded.key.as_bytes()));
    let raw = RawRecord::new(partition, offset, appended_at, key, Some(value), headers.into_iter());
    Record::decode(raw, rules)
}
