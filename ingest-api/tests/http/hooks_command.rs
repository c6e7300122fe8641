//! `ingest-api hooks`: what somebody who writes a description is told.

use std::{
    fs,
    process::{Command, Output},
};

use rstest::rstest;

use crate::harness::Temporary;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hooks/tests/samples");
const SECRET: &str = "EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS";
/// When the samples were signed.
const SIGNED_AT: &str = "1795494900";

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
    command.arg("hooks").args(arguments).env("HOOK_SECRET", SECRET).output().unwrap()
}

/// What a command says that succeeds.
#[track_caller]
fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says on both outputs that fails.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(arguments);
    assert_eq!(status.code(), Some(1), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap()
}

#[test]
fn each_preset_is_listed_and_the_unverified_signatures_are_said() {
    let list = said(&["list"]);
    assert_eq!(list.lines().count(), hooks::presets::ALL.len());
    let line = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(!line("whatsapp-cloud").contains("signature unverified"));
    assert!(line("bandwidth").ends_with("(signature unverified)"));
    for (name, text) in hooks::presets::ALL {
        assert_eq!(said(&["show", name]), *text);
    }
    assert!(refused(&["show", "nobody"]).contains("there is no preset \"nobody\""));
}

#[test]
fn a_sample_shows_its_messages_and_what_would_be_quarantined() {
    let sample = format!("{SAMPLES}/infobip.json");
    let shown = said(&["check", "infobip-sms", "--sample", &sample]);
    assert!(shown.contains("817790313235066001") && shown.contains("+447700900124"), "{shown}");
    let nowhere = "phone = { from = [\"/results/*/absent\"] }";
    let shown = refused(&["check", "infobip-sms", "--sample", &sample, "--change", nowhere]);
    assert!(shown.contains("no_address") && shown.contains("2 of 2 items would be quarantined"), "{shown}");
}

#[rstest]
#[case::right("37096323be7ef768e799105d2e8c2d89d006629d2bc080cd02247d6c07e16679", SIGNED_AT, None)]
#[case::another("00", SIGNED_AT, Some("signature: signature"))]
#[case::old(
    "37096323be7ef768e799105d2e8c2d89d006629d2bc080cd02247d6c07e16679",
    "1795590000",
    Some("signature: timestamp")
)]
fn a_signature_is_checked_with_the_secret_of_the_environment(
    #[case] digits: &str,
    #[case] now: &str,
    #[case] problem: Option<&str>,
) {
    let body = fs::read(format!("{SAMPLES}/chatwoot.json")).unwrap();
    // An editor's last newline is not signed.
    let sample = Temporary::new("chatwoot", body.trim_ascii_end());
    let signature = format!("X-Chatwoot-Signature: sha256={digits}");
    let signed_at = format!("X-Chatwoot-Timestamp: {SIGNED_AT}");
    let mut arguments = vec!["check", "chatwoot", "--sample", sample.path(), "--secret-env", "HOOK_SECRET"];
    arguments.extend(["--header", signature.as_str(), "--header", signed_at.as_str(), "--signed-at", now]);
    match problem {
        None => assert!(said(&arguments).starts_with("signature: right")),
        Some(problem) => assert!(refused(&arguments).contains(problem)),
    }
}

#[test]
fn a_broken_description_is_told_with_its_line() {
    let broken = Temporary::new("broken.toml", b"title = \"Acme\"\nbody = \"xml\"\n");
    let told = refused(&["check", broken.path()]);
    assert!(told.contains("line 2"), "{told}");
    let told = refused(&["check", broken.path(), "--change", "title = \"Other\""]);
    assert!(told.contains("line 2"), "{told}");
}
