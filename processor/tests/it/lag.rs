//! What lag tools see: next offsets copied to the group, never read back; gauges of owned partitions only.

use std::time::Duration;

use crate::{
    harness::{SOON, Telex, metric, wait_for},
    topic::{self, partition_of},
};

#[test]
fn next_offsets_are_copied_to_the_group_and_garbage_in_it_changes_nothing() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let copied = |telex: &Telex| topic::committed(telex)[usize::try_from(partition).unwrap()];
    writer.messages("client", 0..10);
    let mut processor = telex.processor();
    telex.assert_clean();
    wait_for("the copy", Duration::from_secs(5), || copied(&telex) == Some(10));
    assert!(topic::committed(&telex).iter().all(Option::is_some), "an idle partition has one too");
    writer.messages("client", 10..20);
    telex.wait_until_applied();
    processor.stop().unwrap();
    assert_eq!(copied(&telex), Some(20), "the last of it when the partition leaves");
    for garbage in [3, 999_999] {
        topic::commit_to_group(&telex, garbage);
        let mut processor = telex.processor();
        writer.messages("client", 20..25);
        assert_eq!(telex.assert_clean()["rows"]["messages"], 25);
        processor.stop().unwrap();
    }
}

#[test]
fn a_partition_that_has_left_has_no_series() {
    let mut telex = Telex::new();
    let first = telex.processor();
    let owned = |processor: &dev_env::programs::Running| metric(processor, "processor_owned_partitions");
    wait_for("all partitions", SOON, || owned(&first) == Some(12));
    let second = telex.processor();
    wait_for("half of them", SOON, || owned(&first) == Some(6) && owned(&second) == Some(6));
    let series = |processor: &dev_env::programs::Running, name: &str| {
        processor.metrics().lines().filter(|line| line.starts_with(&format!("{name}{{"))).count()
    };
    for name in ["processor_lag_records", "processor_lag_seconds"] {
        wait_for("one series a partition", SOON, || series(&first, name) == 6 && series(&second, name) == 6);
    }
    wait_for("the gap's series", SOON, || series(&first, "processor_conservation_gap") == 6);
}
