//! `progress show` names what stands still by what rows and brokers tell: also while no processor runs, and what the
//! next one will meet.

use std::{collections::BTreeMap, time::Duration};

use dev_env::programs::PARTITIONS;
use serde_json::Value;

use crate::{
    harness::{Telex, wait_for},
    topic::client_of,
};

const SOON: Duration = Duration::from_secs(90);

fn named(expected: &[(i32, &str)]) -> BTreeMap<i32, String> {
    expected.iter().map(|(partition, code)| (*partition, (*code).to_owned())).collect()
}

#[test]
fn what_stands_still_is_named_although_no_processor_can_be_asked() {
    let (mut telex, writer) = Telex::with_writer();
    let mut processor = telex.processor();
    (0..PARTITIONS).for_each(|partition| writer.messages(&client_of(partition), 0..2));
    telex.assert_clean();
    assert_eq!(telex.standing_still(), named(&[]));
    processor.stop().unwrap();
    assert_eq!(telex.standing_still(), named(&[]), "nothing is left to be applied");

    writer.messages(&client_of(0), 2..3);
    writer.messages(&client_of(5), 2..3);
    telex.execute(
        "update partition_progress set updated_at = now() - interval '1 minute' where partition = 0;
         update partition_progress set last_digest = sha256('another') where partition = 1;
         delete from partition_progress where partition = 2;
         update partition_progress set owner_epoch = 0, owner = null where partition = 3;
         update partition_progress set messages = messages + 1 where partition = 4;",
    );
    let without_owner = [
        (0, "not_advancing"),
        (1, "would_halt: digest_mismatch"),
        (2, "would_halt: unregistered_partition"),
        (3, "not_taken_up"),
        (4, "would_halt: not_conserved"),
    ];
    let mut shown = telex.standing_still();
    // It has stood still for some seconds: whether that is long enough depends on how fast this test is.
    shown.remove(&5);
    assert_eq!(shown, named(&without_owner));
    let rows: Vec<Value> = telex.json(&["progress", "show", "--json"]);
    assert_eq!(rows.len(), PARTITIONS as usize, "a partition without a row is shown as well");
    assert!(rows[0]["written_seconds_ago"].as_i64().unwrap() >= 60, "{}", rows[0]);
    assert_eq!((rows[2].get("next_offset"), rows[2]["log_end"].as_i64()), (None, Some(2)), "{}", rows[2]);

    let _processor = telex.processor();
    let sound = "select count(*) from messages where partition in (0, 5)";
    wait_for("the sound partitions", SOON, || telex.number(sound) == 6);
    let halted =
        [(1, "halted: digest_mismatch"), (2, "halted: unregistered_partition"), (4, "halted: not_conserved")];
    wait_for("the same by their halts, and nothing else", SOON, || telex.standing_still() == named(&halted));
}
