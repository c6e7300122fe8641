//! A provider's webhook over a real Kafka: what can never be a message lies in the quarantine, and is a message
//! once the hook's description was mended.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use dev_env::workspace::Workspace;
use schemas::Timestamp;

use crate::harness::Api;

/// Two messages, of which the one without a phone has an id that the description does not name yet.
const BODY: &str = r#"{"account": "a1", "list": [
    {"id": "m-1", "phone": "447700900123", "text": "first"},
    {"id": "m-2", "user": "u-7", "text": "second"}]}"#;

const DESCRIPTION: &str = r#"
title = "A provider of the test"
body = "json"
items = "/list/*"
source = { from = ["/account"] }
phone = { from = ["/list/*/phone"], digits = true, plus = true }
id = { from = ["/list/*/id"] }
text = { from = ["/list/*/text"] }
signature = { scheme = "secret", at = "header:x-secret" }
"#;

const MENDED: &str = r#"
[[address]]
scheme = "id"
id = { from = ["/list/*/user"] }
"#;

/// A directory with a producers file and a description, for as long as it is held.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("hooks-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let directory = Workspace::find().unwrap().dev().join("it").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let producers = "[[producers]]\nname = \"test\"\nall_external_client_ids = true\n\
            [[producers.hooks]]\nname = \"provider\"\nfile = \"provider.toml\"\n\
            secrets = [{ secret = \"a-secret-of-thirty-two-characters\" }]\n";
        std::fs::write(directory.join("producers.toml"), producers).unwrap();
        let files = Self(directory);
        files.describe(DESCRIPTION);
        files
    }

    fn describe(&self, text: &str) {
        std::fs::write(self.0.join("provider.toml"), text).unwrap();
    }

    fn producers(&self) -> String {
        format!("--producers-file={}", self.0.join("producers.toml").display())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0).is_err();
    }
}

/// Sends the provider's webhook; the answer's status and text.
fn post(api: &Api, body: &str) -> (u16, String) {
    let secret = "x-secret: a-secret-of-thirty-two-characters\r\n";
    api.post_any("/v1/hooks/provider", secret, body.as_bytes())
}

/// A time, with nothing that happens in the milliseconds around it.
fn quiet_moment() -> String {
    let around = Duration::from_millis(20);
    std::thread::sleep(around);
    let micros = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    std::thread::sleep(around);
    format!("--since={}", Timestamp::from_micros(i64::try_from(micros).unwrap()).unwrap())
}

/// Whether the command succeeds, and what it says on either stream.
fn try_replay(api: &Api, files: &Files, quarantine: &str, more: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(api.binary("ingest-api"));
    command.args(["hooks", "replay", "--hook=provider", &files.producers(), quarantine]).args(more);
    let output = command.args(api.kafka_arguments()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// The command's output; it has to succeed.
fn replay(api: &Api, files: &Files, quarantine: &str, more: &[&str]) -> String {
    let (is_done, told, complaint) = try_replay(api, files, quarantine, more);
    assert!(is_done, "{complaint}");
    told
}

#[test]
fn what_was_quarantined_is_a_message_once_the_description_was_mended() {
    let files = Files::new();
    let (topic, setting) = Api::quarantine_topic();
    let api = Api::with(&[&files.producers(), &setting]);
    assert_eq!(post(&api, BODY), (200, String::new()));
    assert_eq!(api.topic().len(), 1);
    let quarantined = api.read(&topic);
    assert_eq!(quarantined.len(), 1, "{quarantined:?}");
    assert_eq!(quarantined[0].header("telex_reason"), Some("no_address"));
    assert_eq!(quarantined[0].value["list"].as_array().unwrap().len(), 1);
    assert_eq!(quarantined[0].value["account"], "a1");

    let unchanged = replay(&api, &files, &setting, &["--yes"]);
    assert!(unchanged.contains("0 messages") && unchanged.contains("still fail: no_address"), "{unchanged}");
    files.describe(&format!("{DESCRIPTION}{MENDED}"));
    assert!(replay(&api, &files, &setting, &["--dry-run"]).contains("1 messages would be kept"));
    assert_eq!(api.topic().len(), 1);
    assert!(replay(&api, &files, &setting, &["--yes"]).contains("1 messages are kept"));
    let records = api.topic();
    let second = records.iter().find(|record| record.value["external_message_id"] == "m-2").unwrap();
    assert_eq!((records.len(), &second.value["client_address"]), (2, &serde_json::json!("id:u-7")));
    let received = quarantined[0].header("ce_time");
    assert_eq!(second.header("ce_time"), received, "it came when it came");
}

#[test]
fn a_replay_since_a_time_leaves_what_was_quarantined_before() {
    let files = Files::new();
    let (_, setting) = Api::quarantine_topic();
    let api = Api::with(&[&files.producers(), &setting]);
    let before = quiet_moment();
    assert_eq!(post(&api, BODY), (200, String::new()));
    let between = quiet_moment();
    let later = BODY.replace("m-1", "m-3").replace("m-2", "m-4");
    assert_eq!(post(&api, &later), (200, String::new()));
    let after = quiet_moment();
    files.describe(&format!("{DESCRIPTION}{MENDED}"));
    let would_keep = |since: &str| replay(&api, &files, &setting, &["--dry-run", since]);
    for (since, messages) in [(&before, 2), (&between, 1), (&after, 0)] {
        let told = would_keep(since);
        assert!(told.contains(&format!("{messages} messages would be kept")), "{since}: {told}");
    }
    assert!(replay(&api, &files, &setting, &[&between, "--yes"]).contains("1 messages are kept"));
    let records = api.topic();
    let is_kept = |id: &str| records.iter().any(|record| record.value["external_message_id"] == id);
    assert_eq!([is_kept("m-2"), is_kept("m-4")], [false, true]);
}

#[test]
fn without_the_topic_of_the_quarantine_nothing_is_answered_as_kept() {
    let files = Files::new();
    let api = Api::with(&[
        &files.producers(),
        "--quarantine-topic=telex_test_nowhere",
        "--message-timeout-ms=6000",
    ]);
    assert_eq!(post(&api, BODY).0, 503, "the provider tries again");
}

#[test]
fn a_replay_writes_nothing_where_keys_are_spread_over_another_number_of_partitions() {
    let files = Files::new();
    let (_, setting) = Api::quarantine_topic();
    let api = Api::with(&[&files.producers(), &setting]);
    assert_eq!(post(&api, BODY), (200, String::new()));
    files.describe(&format!("{DESCRIPTION}{MENDED}"));
    api.tell(24);
    let (is_done, told, complaint) = try_replay(&api, &files, &setting, &["--yes"]);
    assert!(!is_done, "{told}");
    assert!(complaint.contains("spread keys over 24 partitions"), "{complaint}");
    assert_eq!(api.topic().len(), 1);
}
