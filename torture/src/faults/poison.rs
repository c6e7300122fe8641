//! Records that can never be applied, written straight to the topic.

use std::time::Duration;

use anyhow::{Result, bail};
use dev_env::interrupt;

use super::Stage;
use crate::{identity, plan, verdict::Outcome, wire::batch::Header};

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
pub fn in_the_topic(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f32")?;
    world.processor("")?;
    world.warm_up()?;
    let mut written = 0;
    for round in 0..ROUNDS {
        let random = world.random.draw();
        for poison in poisons(round, random) {
            let record = (poison.key.as_deref(), poison.value.as_deref());
            let history = std::sync::Arc::clone(&world.history);
            let offset = world.cluster.produce(&world.topic, poison.partition, record, &poison.headers)?;
            history.planted().poison.insert((poison.partition, offset), poison.reason);
            written += 1;
        }
        interrupt::pause(Duration::from_millis(500))?;
    }
    let (recovery, late) = world.catch_up()?;
    let letters =
        world.sql()?.number("select count(*) from dead_letters where reason <> 'conflicting_duplicate'")?;
    if letters == 0 && world.options.plant.is_none() {
        bail!("no dead letter came of {written} records");
    }
    world.finish(format!("{written} records that can never be applied"), recovery, late.into_iter().collect())
}

fn poisons(round: u64, random: u64) -> Vec<Poison> {
    let client = plan::client(random);
    let home = identity::partition_of(client.as_bytes(), 12);
    let key = || Some(client.clone().into_bytes());
    let message = |text: &str| {
        Some(format!(
            r#"{{"client_phone":"+70000000000","external_client_id":"poison","external_message_id":"{round}","text":"{text}"}}"#
        ).into_bytes())
    };
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
    with_type("telex.message.received.v2")
}

fn with_type(event_type: &str) -> Vec<Header> {
    [("ce_type", event_type), ("ce_time", "2026-11-24T00:00:00.000000Z")]
        .map(|(name, value)| (name.into(), Some(value.into())))
        .into()
}
