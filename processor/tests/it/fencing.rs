//! A former owner cannot commit.

use std::time::Duration;

use processor::{
    domain::{
        halt::StopReason,
        position::{LastRecord, NextOffset, Offset, RecordDigest, TopicRef},
    },
    store::{
        halts::{self, Halt, Recorded, SeenRow},
        progress::{self, Advance},
    },
};
use schemas::Partition;
use sqlx::{Connection as _, PgConnection};

use crate::harness::{SOON, Telex, block_on, wait_for};

#[test]
fn a_frozen_processor_that_wakes_up_after_its_partitions_moved_cannot_commit() {
    let (mut telex, api) = Telex::with_api();
    let mut load = telex.load(&api, 60_000, 400);
    let frozen = telex.processor();
    wait_for("the first rows", SOON, || telex.applied_offsets() > 400);
    frozen.server.freeze();
    let _heir = telex.processor();
    wait_for("all partitions to move", Duration::from_secs(90), || {
        telex.number("select min(owner_epoch) from partition_progress") >= 2
    });
    let moved_at = telex.applied_offsets();
    wait_for("the heir to go on", SOON, || telex.applied_offsets() > moved_at + 400);
    frozen.server.thaw();
    // Time to try what it had in hand.
    std::thread::sleep(Duration::from_secs(8));
    load.stop(Duration::from_secs(30)).unwrap();
    telex.assert_clean();
    assert!(frozen.server.is_running(), "being fenced is no reason to end");
}

/// With rows that somebody owned once.
fn registered() -> Telex {
    let mut telex = Telex::new();
    let mut processor = telex.ready_processor();
    wait_for("the registration", SOON, || {
        telex.number("select count(*) from partition_progress where owner_epoch > 0") == 12
    });
    processor.stop().unwrap();
    telex
}

#[test]
fn a_halt_is_written_only_on_the_row_that_was_seen_and_keeps_everybody_from_taking_it() {
    let telex = registered();
    block_on(async {
        let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
        let (topic, partition) = (TopicRef(1), Partition(3));
        let read = progress::load(&mut connection, topic, &[partition]).await.unwrap();
        let (at, epoch) = (read[0].next_offset, read[0].owner_epoch);
        let [(_, raised)] = progress::raise_epochs(&mut connection, topic, &read, "owner").await.unwrap()[..]
        else {
            panic!("not taken")
        };
        let stale = [
            SeenRow::Absent,
            SeenRow::Read(at, epoch),
            SeenRow::Read(NextOffset(at.0 + 1), raised),
            SeenRow::Owned(epoch),
        ];
        let halt = |seen| Halt { partition, reason: StopReason::UnregisteredPartition, seen };
        for seen in stale {
            let recorded = halts::record(&mut connection, topic, &halt(seen), "late").await.unwrap();
            assert_eq!(recorded, Recorded::Fenced, "{seen:?}");
        }
        let recorded = halts::record(&mut connection, topic, &halt(SeenRow::Read(at, raised)), "owner").await;
        assert_eq!(recorded.unwrap(), Recorded::Standing);
        let read = progress::load(&mut connection, topic, &[partition, Partition(4)]).await.unwrap();
        let taken = progress::raise_epochs(&mut connection, topic, &read, "next").await.unwrap();
        assert_eq!(taken.iter().map(|(partition, _)| partition.0).collect::<Vec<_>>(), [4]);
    });
}

#[test]
fn an_owner_of_an_older_epoch_moves_nothing() {
    let telex = registered();
    block_on(async {
        let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
        let topic = TopicRef(1);
        let rows = progress::load(&mut connection, topic, &[Partition(3)]).await.unwrap();
        let [(_, former)] =
            progress::raise_epochs(&mut connection, topic, &rows, "former").await.unwrap()[..]
        else {
            panic!("not taken")
        };
        let rows = progress::load(&mut connection, topic, &[Partition(3)]).await.unwrap();
        let [(_, owner)] = progress::raise_epochs(&mut connection, topic, &rows, "owner").await.unwrap()[..]
        else {
            panic!("not taken")
        };
        assert!(owner > former);
        let step = |owner_epoch| Advance {
            partition: Partition(3),
            owner_epoch,
            from: NextOffset(0),
            to: Offset(0).next(),
            last_digest: Some(LastRecord { offset: Offset(0), digest: RecordDigest([0; 32]) }),
            counters: Default::default(),
        };
        assert_eq!(progress::advance(&mut connection, topic, &[step(former)]).await.unwrap(), 0);
        assert_eq!(progress::advance(&mut connection, topic, &[step(owner)]).await.unwrap(), 1);
        assert_eq!(progress::advance(&mut connection, topic, &[step(owner)]).await.unwrap(), 0, "only once");
    });
}
