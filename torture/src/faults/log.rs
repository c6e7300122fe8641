//! What others write into the topic, as Kafka allows it: transactions, and another compression.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use dev_env::{interrupt, programs::PARTITIONS};

use crate::{
    checker::Violation,
    ground::Ground,
    history::{Attempt, Class},
    identity, plan,
    verdict::Strike,
    wire::{
        batch::{Form, Header},
        kafka::PartitionLog,
    },
    world::World,
};

/// After this time without an advance a consumer is built again, and after twice this time the process ends.
const WATCHDOG: Duration = Duration::from_secs(40);

/// How a message is written past the API.
enum Way {
    Plain(Form),
    Committed,
    Aborted,
}

/// A9: a transaction in each partition, every other one aborted; then their markers are the last thing in the
/// log for a moment, and then more messages come.
pub fn transactions(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let before = markers(world)?;
    transact(world)?;
    world.stop_load();
    transact(world)?;
    let markers = markers(world)? - before;
    ensure!(i32::try_from(markers)? >= 2 * PARTITIONS, "only {markers} markers are in the log");
    let mut strike = Strike::seen(format!("{markers} markers, some last in the log"));
    let (took, late) = world.catch_up()?;
    strike.recovery = Some(took);
    strike.violations.extend(late);
    interrupt::pause(Duration::from_secs(2))?;
    world.start_load();
    world.require_rate()?;
    Ok(strike)
}

/// A9: the markers stay last for longer than the watchdog waits. Nobody may build anything again, or end.
pub fn markers_last(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    world.stop_load();
    let before = markers(world)?;
    transact(world)?;
    let markers = markers(world)? - before;
    let rebuilds = rebuilds(world);
    interrupt::pause(WATCHDOG + Duration::from_secs(8))?;
    let again = self::rebuilds(world) - rebuilds;
    let ended = world.processors.values().filter(|processor| !processor.server.is_running()).count();
    let mut strike = Strike::seen(format!("{markers} markers last in the log for 48 s"));
    let what = format!("{again} consumers built again and {ended} processes ended over markers");
    strike.violations.extend(Violation::when(again > 0 || ended > 0, "A9", what));
    world.start_load();
    Ok(strike)
}

/// B1: a message in each partition, in a batch of its own that is compressed with zstd.
pub fn zstd(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    for partition in 0..PARTITIONS {
        write(world, partition, Way::Plain(Form::Zstd))?;
    }
    Ok(Strike::seen(format!("{PARTITIONS} batches compressed with zstd")))
}

fn transact(world: &mut World) -> Result<()> {
    for partition in 0..PARTITIONS {
        write(world, partition, if partition % 2 == 0 { Way::Committed } else { Way::Aborted })?;
    }
    Ok(())
}

/// Writes a new message of a client of a partition, and notes it as the API's would be.
fn write(world: &mut World, partition: i32, way: Way) -> Result<()> {
    let sent = loop {
        let sent = plan::message(world.plan(), world.unsent());
        let client = sent.message.as_ref().map_or("", |message| &message.client_id);
        if identity::partition_of(client.as_bytes(), PARTITIONS) == partition {
            break sent;
        }
    };
    let Some(message) = &sent.message else { bail!("no message") };
    let id = format!("t-{}-{}", message.external_message_id, world.random.draw());
    let headers: Vec<Header> = plan::headers(message, &id);
    let record = (Some(message.client_id.as_bytes()), Some(message.value.as_slice()));
    let invoked = world.history.now();
    let (cluster, topic) = (&world.cluster, &world.topic);
    let offset = match way {
        Way::Plain(form) => cluster.produce(topic, partition, record, &headers, form)?,
        Way::Committed => cluster.transact(topic, partition, record, &headers, true)?,
        Way::Aborted => cluster.transact(topic, partition, record, &headers, false)?,
    };
    let mut planted = world.history.planted();
    if !matches!(way, Way::Plain(_)) {
        planted.transactions += 1;
    }
    if matches!(way, Way::Aborted) {
        planted.aborted.insert((partition, offset));
        return Ok(());
    }
    drop(planted);
    let (returned, class) = (world.history.now(), Class::Ok { partition, offset });
    world.history.note(Attempt { id, sent: Arc::new(sent), invoked, returned, class });
    Ok(())
}

fn markers(world: &World) -> Result<usize> {
    let logs: BTreeMap<i32, PartitionLog> = world.cluster.read(&world.topic)?;
    Ok(logs.values().map(|log| log.control.len()).sum())
}

/// Consumers that were built again, by all processors.
fn rebuilds(world: &World) -> u64 {
    world.counted("processor_rebuilds_total")
}
