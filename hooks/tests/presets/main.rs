//! Each preset reads what its provider sends: the samples and signature vectors under `samples/` were made apart from
//! this code.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bad_items;
mod reading;
mod signatures;

use std::{fs, path::Path};

use hooks::{Description, Hook, presets};
use rstest::rstest;
use toml::Table;

const SECRET: &str = "EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS";

fn samples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples"))
}

/// A sample, without its last newline.
fn sample(file: &str) -> Vec<u8> {
    let mut body = fs::read(samples().join(file)).unwrap();
    body.truncate(body.trim_ascii_end().len());
    body
}

fn sample_text(file: &str) -> String {
    String::from_utf8(sample(file)).unwrap()
}

fn description(preset: &str, changes: &str) -> Description {
    presets::read(presets::text(preset).unwrap(), toml::from_str::<Table>(changes).unwrap()).unwrap()
}

#[rstest]
#[case::an_unsigned_query("body = \"query\"", "message = \"{body}\"")]
#[case::a_json_body_as_a_form("body = \"json\"", "message = \"{form}\"")]
#[case::no_body("body = \"json\"", "message = \"{url}\"")]
#[case::an_unknown_scheme("address = [{ scheme = \"telegramm\", id = { from = [\"/a\"] } }]", "")]
#[case::an_identity_that_changes_hands("address = [{ scheme = \"username\", id = { from = [\"/a\"] } }]", "")]
#[case::a_text_around_the_items("items = \"/a/*\"\ntext = { from = [\"/t\"] }", "")]
#[case::a_number_beside_a_star(
    "items = \"/a/*\"\ntext = { from = [\"/a/*/t\"] }\nsource = { from = [\"/a/0/s\"] }",
    ""
)]
fn a_description_that_would_fail_is_refused(#[case] change: &str, #[case] of_the_signature: &str) {
    let changes = format!("{change}\n[signature]\n{of_the_signature}");
    let description = description("viber", &changes);
    let problem = Hook::new(&description, &[SECRET.to_owned()], &[]).unwrap_err();
    assert!(!problem.contains(SECRET), "{problem}");
}

#[test]
fn each_preset_is_a_hook() {
    for (name, text) in presets::ALL {
        let description =
            presets::read(text, Table::new()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let secret = "3oTXMhBEPoYU6oNThqb8xJBO3cAfMP0nKmLOXRMVFpY=".to_owned();
        Hook::new(&description, &[secret], &[]).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
    let files = fs::read_dir(samples().join("../../presets")).unwrap();
    assert_eq!(files.count(), presets::ALL.len());
}
