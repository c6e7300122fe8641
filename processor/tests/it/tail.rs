//! `processor tail`: the stream as a person reads it.

use serde_json::Value;

use crate::{
    harness::{Telex, close_dialog, keep, message},
    topic::{Writer, committed_by},
};

const ALL: [&str; 3] = ["tail", "--from-beginning", "--no-follow"];

fn lines(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_stream_is_told_by_client_source_place_and_time() {
    let (telex, api) = Telex::with_api();
    let kept: Vec<Value> = [("tail-a", "1"), ("tail-a", "2"), ("tail-b", "1")]
        .map(|(client, id)| keep(&api, &message(client, id, "secret words")))
        .into();
    let client_id = kept[0]["client_id"].as_str().unwrap();
    let closed = close_dialog(&api, &kept[0]["client_id"]);
    let all = lines(&telex.say(&[&ALL[..], &["--json"]].concat()));
    assert_eq!(all.len(), 4);

    let of_client = telex.say(&[&ALL[..], &["--json", "--client-id", client_id]].concat());
    let shown: Vec<_> =
        lines(&of_client).iter().map(|line| (line["type"].clone(), line["offset"].clone())).collect();
    let (first, last) = (kept[0]["record"]["offset"].clone(), closed["record"]["offset"].clone());
    assert_eq!(shown.len(), 3);
    assert_eq!(shown[0], (Value::from("telex.message.received.v2"), first.clone()));
    assert_eq!(shown[2], (Value::from("telex.dialog.close.v1"), last));
    let by_pair = ["--external-client-id", "tail-a", "--client-phone", "+7 (000) 000-00-00"];
    assert_eq!(telex.say(&[&ALL[..], &["--json"], &by_pair].concat()), of_client);
    let of_source = telex.say(&[&ALL[..], &["--json", "--external-client-id", "tail-b"]].concat());
    assert_eq!(lines(&of_source).len(), 1);

    let partition = kept[1]["record"]["partition"].to_string();
    let offset = kept[1]["record"]["offset"].to_string();
    let from = ["tail", "--no-follow", "--json", "--partition", &partition, "--from-offset", &offset];
    assert_eq!(lines(&telex.say(&from))[0]["external_message_id"], "2");
    let since = all.iter().map(|line| line["appended_at"].as_str().unwrap()).max().unwrap();
    let later = lines(&telex.say(&["tail", "--no-follow", "--json", "--since", since]));
    assert!(
        (1..=4).contains(&later.len())
            && later.iter().all(|line| line["appended_at"].as_str().unwrap() >= since)
    );
    let never = telex.say(&["tail", "--no-follow", "--since", "2099-01-01T00:00:00Z"]);
    assert_eq!(never, "");
    assert_eq!(telex.say(&["tail", "--from-beginning", "--limit", "2"]).lines().count(), 2);

    let said = telex.refuse(&["tail", "--no-follow", "--partition", &partition, "--from-offset", "99"]);
    assert!(said.contains("the log of partition"), "{said}");
    let said = telex.refuse(&["tail", "--no-follow", "--partition", "12"]);
    assert!(said.contains("the topic has 12 partitions"), "{said}");
}

#[test]
fn words_and_phones_are_told_only_if_asked_for_and_garbage_by_its_reason() {
    let (telex, api) = Telex::with_api();
    keep(&api, &message("tail", "1", "secret words"));
    let writer = Writer::new(&telex);
    writer.garbage(5);
    writer.flush();
    for form in [&["--json"][..], &[]] {
        let said = telex.say(&[&ALL[..], form].concat());
        assert!(!said.contains("secret") && !said.contains("70000000000"), "{said}");
        assert!(said.contains("null_key"), "{said}");
    }
    for form in [&["--content"][..], &["--content", "--json"]] {
        let said = telex.say(&[&ALL[..], form].concat());
        assert!(said.contains("secret words") && said.contains("+70000000000"), "{said}");
    }
}

#[test]
fn whoever_looks_takes_no_partition_from_a_processor_and_commits_nothing() {
    let (telex, api, mut processor) = Telex::at_work();
    processor.wait_until_ready().unwrap();
    keep(&api, &message("tail", "1", "Hello"));
    telex.wait_until_applied();
    assert_eq!(telex.say(&ALL).lines().count(), 1);
    let owned = crate::harness::metric(&processor, "processor_owned_partitions");
    assert_eq!(owned, Some(i64::from(dev_env::programs::PARTITIONS)));
    assert_eq!(crate::harness::metric(&processor, "processor_rebalances_total{event=\"revoked\"}"), None);
    let committed = committed_by(&telex, "telex.reader");
    assert!(committed.iter().all(Option::is_none), "{committed:?}");
    processor.stop().unwrap();
    telex.assert_clean();
}
