//! PostgreSQL is too slow for what is asked at once: less is asked, and nothing is lost or blamed.

use std::{thread::sleep, time::Duration};

use crate::{
    harness::{SOON, Telex, metric, wait_for},
    topic::{client_beside, partition_of},
};

const SLOW_TRIGGER: &str = "
    create function slow() returns trigger language plpgsql as $$begin perform pg_sleep(SECONDS); return new; end$$;
    create trigger slow before insert on messages for each row when (CONDITION) execute function slow()";

fn slow(seconds: &str, condition: &str) -> String {
    SLOW_TRIGGER.replace("SECONDS", seconds).replace("CONDITION", condition)
}

#[test]
fn a_full_batch_that_the_server_does_not_take_in_time_is_halved_and_the_backlog_goes_on() {
    let (mut telex, writer) = Telex::with_writer();
    let other = client_beside("client");
    for ids in (0..25).map(|part| part * 100..(part + 1) * 100) {
        writer.messages("client", ids.clone());
        writer.messages(&other, ids);
    }
    telex.execute(&slow("0.003", "true"));
    let processor = telex.processor_with(&["--lanes=1"]);
    telex.assert_counts([("/rows/messages", 5_000), ("/rows/dead_letters", 0)]);
    let less = metric(&processor, r#"processor_apply_failures_total{action="less"}"#);
    assert!(less.is_some_and(|less| less >= 1), "{less:?}: no batch was too much");
    // Whole batches again, once there is time.
    telex.execute("drop function slow() cascade");
    writer.messages("client", 2_500..6_000);
    telex.assert_clean();
}

#[test]
fn a_session_that_the_server_ends_within_a_copy_because_of_its_length_leads_to_less() {
    let (mut telex, writer) = Telex::with_writer();
    // The deadline of the transaction, counted anew from the statement: it passes within the COPY, not beside it.
    telex.execute(
        "create function brief() returns trigger language plpgsql as $$begin
             perform set_config('transaction_timeout', '0', true);
             perform set_config('transaction_timeout', '2s', true);
             return null;
         end$$;
         create trigger brief before insert on messages for each statement execute function brief()",
    );
    telex.execute(&slow("0.01", "true"));
    writer.messages("client", 0..1_000);
    let processor = telex.processor_with(&["--lanes=1"]);
    telex.assert_counts([("/rows/messages", 1_000), ("/rows/dead_letters", 0)]);
    let less = metric(&processor, r#"processor_apply_failures_total{action="less"}"#);
    assert!(less.is_some_and(|less| less >= 1), "{less:?}: no batch was too much");
}

#[test]
fn a_record_that_alone_takes_too_long_is_tried_again_seen_and_never_a_dead_letter() {
    let (mut telex, writer) = Telex::with_writer();
    telex.execute(&slow("6", "new.text = 'SLOW'"));
    writer.messages("client", 0..3);
    writer.message("client", "slow", "SLOW");
    writer.messages("client", 3..6);
    let processor = telex.processor();
    wait_for("the record alone", Duration::from_secs(90), || {
        processor.server.log_text().contains("a single record is too much")
    });
    assert_eq!(telex.next_offset(partition_of("client")), 3, "those before it are applied");
    assert_eq!(metric(&processor, "processor_lanes_waiting_for_database"), Some(1));
    sleep(Duration::from_secs(8));
    assert_eq!(telex.number("select count(*) from dead_letters"), 0);
    telex.execute("drop function slow() cascade");
    telex.assert_counts([("/rows/messages", 7), ("/rows/dead_letters", 0)]);
}

#[test]
fn a_lock_on_one_clients_row_holds_up_its_own_records_and_blames_none() {
    let (mut telex, writer) = Telex::with_writer();
    let other = client_beside("client");
    // In the transaction of somebody else the client is being made.
    let client = crate::topic::client_id("client").as_uuid();
    let held =
        telex.hold(&format!("insert into clients values ('{client}', 'client', '+70000000000', now())"));
    writer.messages("client", 0..3);
    writer.messages(&other, 0..3);
    let processor = telex.processor_with(&["--lanes=2"]);
    wait_for("SQLSTATE 55P03", SOON, || processor.server.log_text().contains("55P03"));
    drop(held);
    telex.assert_counts([("/rows/messages", 6), ("/rows/dead_letters", 0)]);
    assert_eq!(telex.number("select count(*) from halts"), 0);
}
