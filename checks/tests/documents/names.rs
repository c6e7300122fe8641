//! Names of ours that the documents show stand in the sources, too: metrics, variables, alerts, tests. And the pages
//! that the sources name are there.

use std::{collections::BTreeSet, fs, path::Path};

use dev_env::markdown::anchors;

use crate::pages::{files, is_document, read, root, unknown};

/// How names begin that are Telex's own.
const OURS: [&str; 6] = ["ingest_", "processor_", "telex_", "INGEST_", "PROCESSOR_", "TELEX_"];
/// Names that only the documents have: of databases that a person makes, of a publication, of PostgreSQL's functions.
const OF_DOCUMENTS: [&str; 4] = ["pg_drop_replication_slot", "telex_old", "telex_restored", "telex_rows"];
/// Files whose names are not the sources': inputs of fuzz targets, and these tests.
const NOT_SOURCES: [&str; 2] = ["fuzz/corpus", "checks/tests/documents"];

/// Whether the sources must have this word: a name of ours, an alert, or one of so many words that it is a test's or a
/// metric's.
fn must_be_there(word: &str) -> bool {
    let is_long = word.matches('_').count() >= 3 && word.chars().all(|c| !c.is_ascii_uppercase());
    let is_alert =
        word.strip_prefix("Telex").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    let is_ours = OURS.iter().any(|beginning| word.starts_with(beginning));
    // `processor_` alone speaks of many.
    (is_long || is_alert || is_ours) && !word.ends_with('_') && !OF_DOCUMENTS.contains(&word)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The pages that a text names from the root, with the sections that it names of them.
fn pages_named(text: &str) -> Vec<(&str, Option<&str>)> {
    let is_of_a_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '#');
    text.split(|c: char| !is_of_a_path(c))
        .filter_map(|token| Some(token.get(token.find("docs/")?..)?.trim_end_matches('.')))
        .map(|token| token.split_once('#').map_or((token, None), |(path, anchor)| (path, Some(anchor))))
        .filter(|(path, _)| is_document(Path::new(path)))
        .collect()
}

#[test]
fn every_name_of_ours_that_is_shown_is_in_the_sources() {
    let files = files();
    let is_source = |file: &Path| !is_document(file) && !NOT_SOURCES.iter().any(|not| file.starts_with(not));
    let mut known = BTreeSet::new();
    for file in files.iter().filter(|file| is_source(file)) {
        // What is no text has no names.
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        known.extend(words(&text).filter(|word| must_be_there(word)).map(str::to_owned));
    }
    let unknown = unknown(
        &files,
        250,
        |shown| words(shown).filter(|word| must_be_there(word)).collect(),
        |word| known.contains(word),
    );
    assert!(unknown.is_empty(), "names that no source has:\n{}", unknown.join("\n"));
}

/// In comments, in messages, in alerts.
#[test]
fn every_page_that_the_sources_name_is_there() {
    let files = files();
    let mut missing = Vec::new();
    let mut seen = 0_u32;
    for file in &files {
        if is_document(file) || NOT_SOURCES.iter().any(|not| file.starts_with(not)) {
            continue;
        }
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        for (path, anchor) in pages_named(&text) {
            seen += 1;
            if !files.contains(Path::new(path)) {
                missing.push(format!("{}: there is no {path}", file.display()));
            } else if let Some(anchor) = anchor.filter(|anchor| !anchors(&read(path)).contains(*anchor)) {
                missing.push(format!("{}: {path} has no section #{anchor}", file.display()));
            }
        }
    }
    assert!(seen > 60, "only {seen} pages were named");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn names_of_ours_are_told_from_others() {
    let ours = ["ingest_requests_total", "TELEX_URL", "TelexIngestSlow", "a_test_is_a_sentence"];
    assert!(ours.into_iter().all(must_be_there));
    let others = ["processor_", "pg_dump", "NEXT_OFFSET_OF_IT_ALL", "Telexes", "telex"];
    assert!(!others.into_iter().any(must_be_there));
    let text = "see ../docs/a.md, https://telex.example/docs/b.md#c or docs/adr/x.md.";
    assert_eq!(pages_named(text), [("docs/a.md", None), ("docs/b.md", Some("c")), ("docs/adr/x.md", None)]);
}
