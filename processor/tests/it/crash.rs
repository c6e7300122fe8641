//! Processors that end without a word.

use std::time::Duration;

use crate::harness::{SOON, Telex, wait_for};

#[test]
fn a_processor_killed_20_times_under_load_leaves_clean_tables() {
    const KILLS: u64 = 20;
    let (mut telex, api) = Telex::with_api();
    let mut load = telex.load(&api, 60_000, 400);
    let mut processors = [telex.processor(), telex.processor()];
    wait_for("the first rows", SOON, || telex.applied_offsets() > 0);
    for kill in 0..KILLS {
        let victim = usize::try_from(kill % 2).unwrap();
        // Another moment of the batch each time, the partitions in its hands.
        let before = telex.applied_offsets();
        wait_for("rows", SOON, || telex.applied_offsets() > before);
        std::thread::sleep(Duration::from_millis(137 * kill % 1_000));
        processors[victim].server.kill();
        processors[victim] = telex.processor();
        let epochs = "select min(owner_epoch) from partition_progress";
        let taken = telex.number(epochs);
        // Every other time at once again, so that a rebalance is interrupted too.
        if kill % 2 == 1 {
            wait_for("the partitions to move", SOON, || {
                telex.number("select sum(owner_epoch)::bigint from partition_progress") > taken * 12
            });
        }
    }
    load.stop(Duration::from_secs(30)).unwrap();
    let report = telex.assert_clean();
    assert!(report["rows"]["messages"].as_i64().unwrap() > 1_000, "{report:#}");
}
