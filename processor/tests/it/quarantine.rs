//! `processor quarantine`: what hooks could make no message of, as a person looks at it.

use std::time::Duration;

use dev_env::{
    kafka::admin,
    programs::{QUARANTINE_PARTITIONS, QUARANTINE_SETTINGS},
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use schemas::{ClientId, Quarantined, RequestId, Timestamp};
use serde_json::{Value, json};

use crate::{
    fill,
    harness::{SOON, Telex, wait_for},
    topic::{client_id, committed_by, config},
};

/// What no list may show.
const DOCUMENT: &str = r#"{"from":"+70000000000","text":"secret words"}"#;

/// A quarantine of a test's own, with a writer that stands for the ingest API and for others.
pub struct Quarantine {
    pub topic: String,
    producer: BaseProducer,
}

impl Quarantine {
    pub fn of(telex: &Telex) -> Self {
        let topic = format!("{}.quarantine", telex.programs.topic);
        let broker = telex.programs.kafka.parse().unwrap();
        admin::create_topic(broker, &topic, QUARANTINE_PARTITIONS, &QUARANTINE_SETTINGS).unwrap();
        Self::named(telex, topic)
    }

    /// One that is there.
    pub fn named(telex: &Telex, topic: String) -> Self {
        Self { topic, producer: config(telex).create().unwrap() }
    }

    pub fn write(&self, partition: i32, item: Quarantined) {
        let record = item.encode();
        let to = BaseRecord::to(&self.topic).partition(partition).headers(fill::headers(&record));
        self.producer.send(to.key(&record.key).payload(&record.value)).map_err(|(error, _)| error).unwrap();
        // One after the other, so that the broker's clock has their order.
        self.producer.flush(Duration::from_secs(20)).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }

    /// A record of a program that is no ingest API.
    fn foreign(&self, partition: i32) {
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(partition).payload(b"secret words");
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.flush(Duration::from_secs(20)).unwrap();
    }

    /// What a command says of it.
    #[track_caller]
    fn say(&self, telex: &Telex, arguments: &[&str]) -> String {
        telex.say(&[&["quarantine", "--quarantine-topic", &self.topic], arguments].concat())
    }

    #[track_caller]
    fn list(&self, telex: &Telex, filter: &[&str]) -> Value {
        serde_json::from_str(&self.say(telex, &[&["list", "--json"], filter].concat())).unwrap()
    }

    #[track_caller]
    fn export(&self, telex: &Telex, filter: &[&str]) -> Vec<Value> {
        let said = self.say(telex, &[&["export"], filter].concat());
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn item(hook: &str, reason: &str, client_id: Option<ClientId>, document: &[u8]) -> Quarantined {
    Quarantined {
        client_id,
        hook: hook.to_owned(),
        producer: "meta".to_owned(),
        reason: reason.to_owned(),
        detail: "no place of phone or address holds something".to_owned(),
        document: document.to_vec(),
        content_type: "application/json".to_owned(),
        received_at: Timestamp::parse("2026-11-24T04:35:00Z").unwrap(),
        request_id: RequestId::parse("r-1").unwrap(),
        item: 2,
    }
}

/// The places of the items in a list, as it has them.
fn places(list: &Value) -> Vec<(i64, i64)> {
    let of = |item: &Value| (item["partition"].as_i64().unwrap(), item["offset"].as_i64().unwrap());
    list["items"].as_array().unwrap().iter().map(of).collect()
}

/// Two hooks, two reasons, a document that is no text, and two records of another program.
fn filled(telex: &Telex) -> Quarantine {
    let quarantine = Quarantine::of(telex);
    quarantine.write(0, item("whatsapp", "no_address", None, DOCUMENT.as_bytes()));
    quarantine.write(2, item("viber", "too_long", Some(client_id("a")), DOCUMENT.as_bytes()));
    quarantine.foreign(0);
    quarantine.write(0, item("whatsapp", "too_long", None, b"\xff\0"));
    quarantine.foreign(0);
    quarantine
}

#[test]
fn items_are_listed_newest_first_and_counted_without_a_word_of_their_clients() {
    let telex = Telex::new();
    let quarantine = filled(&telex);
    let said = quarantine.say(&telex, &["list"]);
    assert!(!said.contains("secret") && !said.contains("70000000000"), "{said}");
    assert!(said.contains(&client_id("a").key()), "{said}");
    assert!(said.contains("3 items, 3 shown\nrecords of other programs: 2; the header ce_type"), "{said}");

    let all = quarantine.list(&telex, &[]);
    assert_eq!(places(&all), [(0, 2), (2, 0), (0, 0)]);
    let count = |hook: &str, reason: &str| json!({ "hook": hook, "reason": reason, "items": 1 });
    assert_eq!(
        all["counts"],
        json!([count("viber", "too_long"), count("whatsapp", "no_address"), count("whatsapp", "too_long")])
    );
    let foreign = json!([{ "header": "ce_type", "records": 2, "first_partition": 0, "first_offset": 1 }]);
    assert_eq!(all["foreign_records"], foreign);

    let of = |filter: &[&str]| places(&quarantine.list(&telex, filter));
    assert_eq!(of(&["--hook", "whatsapp"]), [(0, 2), (0, 0)]);
    assert_eq!(of(&["--hook", "whatsapp", "--reason", "no_address"]), [(0, 0)]);
    let newest = quarantine.list(&telex, &["--limit", "1"]);
    assert_eq!((places(&newest), newest["counts"].as_array().unwrap().len()), (vec![(0, 2)], 3));
    let at = all["items"][1]["appended_at"].as_str().unwrap();
    assert_eq!(of(&["--since", at]), [(0, 2), (2, 0)]);
    assert_eq!(of(&["--until", at]), [(0, 0)]);
    assert_eq!(of(&["--since", "2099-01-01T00:00:00Z"]), []);
}

#[test]
fn an_item_is_shown_as_it_came() {
    let telex = Telex::new();
    let quarantine = filled(&telex);
    let said = quarantine.say(&telex, &["show", "2", "0"]);
    for part in [
        "telex_hook: viber\n",
        "telex_reason: too_long\n",
        "ce_type: telex.item.quarantined.v1\n",
        "x-request-id: r-1\n",
        &format!("key: {}\n", client_id("a").key()),
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(said.ends_with(&format!("\n\n{DOCUMENT}")), "{said}");
    assert_eq!(quarantine.say(&telex, &["show", "0", "0", "--document"]), DOCUMENT);
    let said = quarantine.say(&telex, &["show", "0", "1"]);
    assert!(said.contains("another program wrote it: the header ce_type"), "{said}");

    let refuse = |arguments: &[&str]| {
        telex.refuse(&[&["quarantine", "--quarantine-topic", &quarantine.topic, "show"], arguments].concat())
    };
    assert!(refuse(&["0", "99"]).contains("holds 0 to 4"));
    assert!(refuse(&["3", "0"]).contains("has 3 partitions"));
}

#[test]
fn items_are_exported_in_the_order_of_their_places_each_on_a_line() {
    let telex = Telex::new();
    let quarantine = filled(&telex);
    let all = quarantine.export(&telex, &[]);
    let found: Vec<_> =
        all.iter().map(|line| (line["partition"].as_i64(), line["offset"].as_i64())).collect();
    assert_eq!(found, [(Some(0), Some(0)), (Some(0), Some(2)), (Some(2), Some(0))]);
    assert_eq!(all[0]["document"], DOCUMENT);
    assert_eq!(all[1]["document_base64"], "/wA=");
    assert_eq!(
        (&all[2]["client_id"], &all[2]["request_id"], &all[2]["item"], &all[2]["content_type"]),
        (&json!(client_id("a").key()), &json!("r-1"), &json!(2), &json!("application/json"))
    );
    let of_hook = quarantine.export(&telex, &["--hook", "viber"]);
    assert_eq!(of_hook, [all[2].clone()]);
}

#[test]
fn a_document_as_large_as_a_request_may_be_is_listed_and_exported() {
    let telex = Telex::new();
    let quarantine = Quarantine {
        producer: config(&telex).set("message.max.bytes", "2097152").create().unwrap(),
        ..Quarantine::of(&telex)
    };
    let document = "x".repeat(1_048_576);
    quarantine.write(1, item("whatsapp", "no_address", None, document.as_bytes()));
    assert_eq!(quarantine.list(&telex, &[])["items"][0]["document_bytes"], 1_048_576);
    assert_eq!(quarantine.export(&telex, &[])[0]["document"], document);
    assert_eq!(quarantine.say(&telex, &["show", "1", "0", "--document"]), document);
}

#[test]
fn whoever_looks_needs_no_database_and_tells_the_brokers_nothing() {
    let mut telex = Telex::new();
    let quarantine = filled(&telex);
    let database_url = telex.programs.database_url.clone();
    telex.programs.database_url = "postgres://nobody@127.0.0.1:1/nothing".to_owned();
    assert_eq!(places(&quarantine.list(&telex, &[])).len(), 3);
    assert_eq!(quarantine.export(&telex, &[]).len(), 3);
    telex.programs.database_url = database_url;
    telex.programs.topic.clone_from(&quarantine.topic);
    let committed = committed_by(&telex, "telex.reader");
    assert!(committed.iter().all(Option::is_none), "{committed:?}");
}

#[test]
fn a_transaction_of_another_program_does_not_hold_the_list_up() {
    let telex = Telex::new();
    let transactional = |quarantine: &Quarantine| {
        let producer: BaseProducer =
            config(&telex).set("transactional.id", &quarantine.topic).create().unwrap();
        wait_for("a producer id", SOON, || producer.init_transactions(Duration::from_secs(30)).is_ok());
        producer
    };
    let mut quarantine = Quarantine::of(&telex);
    quarantine.producer = transactional(&quarantine);
    quarantine.producer.begin_transaction().unwrap();
    quarantine.write(0, item("whatsapp", "no_address", None, DOCUMENT.as_bytes()));
    quarantine.producer.commit_transaction(Duration::from_secs(30)).unwrap();
    // Its end takes an offset that has no record.
    assert_eq!(places(&quarantine.list(&telex, &[])), [(0, 0)]);
}

#[test]
fn a_topic_that_is_not_there_is_told_with_the_command_that_makes_it() {
    let telex = Telex::new();
    for command in [&["list"][..], &["export"], &["show", "0", "0"]] {
        let said =
            telex.refuse(&[&["quarantine", "--quarantine-topic", "telex.no.such.topic"], command].concat());
        assert!(said.contains("telex.no.such.topic does not exist"), "{said}");
        assert!(
            said.contains("kafka-topics.sh --bootstrap-server") && said.contains("--partitions 3"),
            "{said}"
        );
    }
}
