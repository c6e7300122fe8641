//! Versions of the contract: what was released stays as it was, and what comes after it only adds.
//!
//! `schemas/contract/released/VERSION/` holds the schemas of each released version, as they were. A reader that was
//! written for one of them has to understand every record of a later one, and a reader of today every record of then.
#![expect(clippy::unwrap_used, reason = "a broken file fails the test")]

use std::{collections::BTreeSet, fs, path::Path};

use rstest::rstest;
use schemas::contract::{VERSION, documents};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contract/released");

/// What says nothing about which values are valid.
const ANNOTATIONS: [&str; 3] = ["description", "examples", "title"];

/// What of a later schema breaks a promise of an earlier one.
fn broken_promises(earlier: &Value, later: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let properties = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    let (before, after) = (properties(earlier), properties(later));
    for (name, rules) in &before {
        match after.get(name) {
            None => broken.push(format!("{name} is gone")),
            Some(now) if rules_of(now) != rules_of(rules) => broken.push(format!("{name} has other rules")),
            Some(_) => {}
        }
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    for name in required(later).symmetric_difference(&required(earlier)) {
        broken.push(format!("{name} is required in one version only"));
    }
    let others = |schema: &Value| {
        let mut rules = rules_of(schema);
        for name in ["properties", "required"] {
            rules.as_object_mut().unwrap().remove(name);
        }
        rules
    };
    if others(earlier) != others(later) {
        broken.push("the object has other rules".to_owned());
    }
    broken
}

fn rules_of(schema: &Value) -> Value {
    let mut rules = schema.clone();
    if let Some(rules) = rules.as_object_mut() {
        rules.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
    }
    rules
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap()
}

#[test]
fn a_version_only_adds_to_the_released_ones_of_its_major() {
    let mut compared = 0;
    for version in fs::read_dir(FOLDER).unwrap() {
        let version = version.unwrap();
        if major(version.file_name().to_str().unwrap()) != major(VERSION) {
            continue;
        }
        for (name, now) in documents().into_iter().filter(|(name, _)| name.ends_with(".schema.json")) {
            let Ok(then) = fs::read(version.path().join(name)) else {
                continue;
            };
            compared += 1;
            assert_eq!(
                broken_promises(&serde_json::from_slice(&then).unwrap(), &now),
                Vec::<String>::new(),
                "{name} against {}",
                version.path().display()
            );
        }
    }
    assert!(compared >= 2, "the released schemas of this major are not there");
}

#[test]
fn every_released_event_type_has_a_golden_record() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    for version in fs::read_dir(FOLDER).unwrap() {
        for schema in fs::read_dir(version.unwrap().path()).unwrap() {
            let name = schema.unwrap().file_name().into_string().unwrap();
            let event_type = name.strip_suffix(".schema.json").unwrap();
            let record = fs::read(golden.join(format!("{event_type}.json")));
            let record: Value = serde_json::from_slice(&record.expect(event_type)).unwrap();
            let headers = record["record"]["headers"].as_array().unwrap();
            assert!(headers.contains(&json!(["ce_type", event_type])), "{event_type}");
        }
    }
}

#[rstest]
#[case::an_optional_field_is_added(json!({"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}), &[])]
#[case::a_description_changes(json!({"properties": {"a": {"type": "string", "description": "New."}}, "required": ["a"], "title": "T"}), &[])]
#[case::a_field_goes(json!({"properties": {}, "required": ["a"]}), &["a is gone"])]
#[case::a_type_changes(json!({"properties": {"a": {"type": "integer"}}, "required": ["a"]}), &["a has other rules"])]
#[case::a_limit_comes(json!({"properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}), &["a has other rules"])]
#[case::a_field_is_asked_for(
    json!({"properties": {"a": {"type": "string"}, "b": {}}, "required": ["a", "b"]}),
    &["b is required in one version only"]
)]
#[case::a_field_may_be_missing(json!({"properties": {"a": {"type": "string"}}}), &["a is required in one version only"])]
#[case::unknown_fields_are_refused(
    json!({"properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}),
    &["the object has other rules"]
)]
fn what_breaks_a_reader_is_seen(#[case] later: Value, #[case] broken: &[&str]) {
    let earlier = json!({"properties": {"a": {"type": "string"}}, "required": ["a"]});
    assert_eq!(broken_promises(&earlier, &later), broken);
}
