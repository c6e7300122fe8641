//! Records that can never be applied, written straight to the topic.

use std::time::Duration;

use anyhow::{Result, ensure};
use dev_env::interrupt;

use crate::{
    ground::Ground,
    identity, plan,
    verdict::Strike,
    wire::batch::{Form, Header},
    world::World,
};

const ROUNDS: u64 = 3;

/// A record, where it goes, and the reason that its dead letter must have.
struct Poison {
    reason: &'static str,
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

/// F32.
pub fn in_the_topic(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let mut written = 0;
    for _ in 0..ROUNDS {
        let client = plan::client(world.plan(), world.random.draw());
        for poison in poisons(world.unsent(), &client) {
            let record = (poison.key.as_deref(), poison.value.as_deref());
            let history = std::sync::Arc::clone(&world.history);
            let Poison { partition, headers, .. } = &poison;
            let offset = world.cluster.produce(&world.topic, *partition, record, headers, Form::Plain)?;
            history.planted().poison.insert((poison.partition, offset), poison.reason);
            written += 1;
        }
        interrupt::pause(Duration::from_millis(500))?;
    }
    let came = world.wait("dead letters", Duration::from_secs(20), |world| {
        let letters = "select count(*) from dead_letters where reason <> 'conflicting_duplicate'";
        Ok(world.sql()?.number(letters)? > 0)
    });
    ensure!(came.is_ok() || world.options.is_planted, "no dead letter came of {written} records");
    Ok(Strike::seen(format!("{written} records that can never be applied")))
}

fn poisons(round: u64, client: &str) -> Vec<Poison> {
    let home = identity::partition_of(client.as_bytes(), 12);
    let key = || Some(client.as_bytes().to_vec());
    let message = |text: &str| {
        Some(format!(
            r#"{{"client_phone":"+70000000000","external_client_id":"poison","external_message_id":"{round}","text":"{text}"}}"#
        ).into_bytes())
    };
    let value = |text: &str| Some(text.as_bytes().to_vec());
    let two_addresses = value(
        r#"{"client_phone":"+70000000000","client_address":"tg:1","external_client_id":"poison","external_message_id":"1","text":""}"#,
    );
    let no_address =
        value(r#"{"external_client_id":"poison","external_message_id":"1","text":"","aliases":["tg:1"]}"#);
    let own = identity::client_id("poison", "+70000000000");
    let own_home = identity::partition_of(own.as_bytes(), 12);
    let own_key = || Some(own.clone().into_bytes());
    let poison = |reason, partition, key, value, headers| Poison { reason, partition, key, value, headers };
    vec![
        poison("null_key", 0, None, None, Vec::new()),
        poison("null_key", 1, Some(Vec::new()), message("x"), headers()),
        poison("null_value", home, key(), None, headers()),
        poison("bad_header", home, key(), Some(b"{".to_vec()), Vec::new()),
        poison("malformed_json", home, key(), Some(b"{".to_vec()), headers()),
        poison("malformed_json", home, key(), Some(vec![0xff, 0x00, 0xfe]), headers()),
        poison("nul_character", own_home, own_key(), message("a\\u0000b"), headers()),
        poison("too_long", own_home, own_key(), message(&"x".repeat(900_000)), headers()),
        poison("key_mismatch", home, key(), message("x"), headers()),
        poison("wrong_partition", (own_home + 1) % 12, own_key(), message("x"), headers()),
        poison("two_addresses", own_home, own_key(), two_addresses, with_addresses()),
        poison("missing_field", own_home, own_key(), no_address, with_addresses()),
        poison("unknown_type", home, key(), message("x"), with_type("telex.unknown.v1")),
        poison(
            "bad_header",
            home,
            key(),
            message("x"),
            vec![(vec![0xff], None), (b"nul".to_vec(), Some(b"a\0".to_vec()))],
        ),
    ]
}

fn headers() -> Vec<Header> {
    with_type(plan::MESSAGE_TYPE)
}

fn with_addresses() -> Vec<Header> {
    with_type(plan::MESSAGE_TYPE_WITH_ADDRESSES)
}

fn with_type(event_type: &str) -> Vec<Header> {
    [("ce_type", event_type), ("ce_time", "2026-11-24T00:00:00.000000Z")]
        .map(|(name, value)| (name.into(), Some(value.into())))
        .into()
}
