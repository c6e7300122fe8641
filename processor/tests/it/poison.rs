//! Records that can never be applied.

use std::{thread::sleep, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::{
    harness::{Telex, keep, message},
    topic::client_beside,
};

type KeyAndValue = (Option<&'static [u8]>, Option<&'static [u8]>);

#[test]
fn garbage_in_the_topic_becomes_dead_letters_and_delays_nobody() {
    let (telex, api, _processor) = Telex::at_work();
    let garbage: [KeyAndValue; 6] = [
        (None, None),
        (Some(b""), Some(b"")),
        (Some(b"a8039ba4-f2c5-5ccb-a825-8c03ad9bc5d2"), Some(b"{")),
        (Some(b"\xff\xfe"), Some(b"\x00\x01")),
        (None, Some(b"{\"external_client_id\":\"tg\"}")),
        (Some(b"key"), Some(b"[[[[[[[[[[[[[[[[")),
    ];
    for round in 0..4 {
        for (key, value) in garbage {
            for partition in 0..3 {
                write(&telex, partition, key, value);
            }
        }
        keep(&api, &message(&format!("client-{round}"), "1", "Hello"));
    }
    telex.assert_counts([("/rows/dead_letters", 4 * 6 * 3), ("/rows/messages", 4)]);
    let untouched = "select count(*) from dead_letters where value = '\\x0001' and key = '\\xfffe'";
    assert_eq!(telex.number(untouched), 4 * 3, "kept as it was");
}

#[test]
fn what_passes_by_itself_is_never_a_dead_letter() {
    let (mut telex, writer) = Telex::with_writer();
    let processor = telex.processor();
    writer.messages("client", 0..10);
    telex.assert_clean();
    // A lock that is held longer than lock_timeout (55P03), connections that are ended.
    writer.messages("client", 10..20);
    telex.wait_until_applied();
    let lock = telex.hold("lock table clients in access exclusive mode");
    writer.messages(&client_beside("client"), 0..10);
    sleep(Duration::from_secs(5));
    drop(lock);
    telex.wait_until_applied();
    telex.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'telex-processor'",
    );
    writer.messages("client", 20..30);
    telex.assert_counts([("/rows/messages", 40), ("/rows/dead_letters", 0)]);
    assert!(processor.server.log_text().contains("55P03"), "no lock was waited for");
}

#[expect(clippy::disallowed_methods, reason = "a producer that is not ours")]
fn write(telex: &Telex, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &telex.programs.kafka).create().unwrap();
    let mut record = BaseRecord::<[u8], [u8]>::to(&telex.programs.topic).partition(partition);
    if let Some(key) = key {
        record = record.key(key);
    }
    if let Some(value) = value {
        record = record.payload(value);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
}
