//! What a part of the processor may know of the others. Arrows run down: nothing in `domain/` knows Kafka or
//! PostgreSQL, and `prove`, the second opinion, shares no fold with what it checks.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each part with what it may import. A part is a folder or a file of `src/`.
const LAYERS: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("end", &[]),
    ("failpoint", &[]),
    ("metrics", &["domain"]),
    ("status", &["domain", "metrics"]),
    ("kafka", &["domain", "failpoint", "metrics", "status"]),
    ("store", &["domain", "failpoint", "kafka"]),
    ("consume", &["domain", "failpoint", "kafka", "metrics", "status", "store"]),
    ("prove", &["domain", "kafka", "store"]),
    ("app", &["consume", "domain", "kafka", "metrics", "status", "store"]),
    ("commands", &["app", "consume", "domain", "kafka", "metrics", "prove", "store"]),
    ("cli", &["commands", "kafka", "store"]),
    ("main", &["cli", "end"]),
];

/// What nobody in a part may import, although the layer is allowed.
const APART: [(&str, &str); 1] = [("prove", "domain::fold")];

/// Every path that begins with `crate::` or `processor::`, without comments.
fn paths(source: &str) -> Vec<String> {
    let code: String = source.lines().map(|line| line.split("//").next().unwrap().to_owned() + " ").collect();
    let starts = ["crate::", "processor::"].into_iter().flat_map(|root| code.match_indices(root));
    starts.flat_map(|(at, root)| tree("", &code[at + root.len()..]).0).collect()
}

/// The paths of a use tree, and how much of the text it takes.
fn tree(prefix: &str, text: &str) -> (Vec<String>, usize) {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
    let path = format!("{prefix}{name}");
    if !text[name.len()..].starts_with('{') {
        return (vec![path], name.len());
    }
    let (mut paths, mut at) = (Vec::new(), name.len() + 1);
    while !text[at..].starts_with('}') {
        let (more, taken) = tree(&path, &text[at..]);
        paths.extend(more.into_iter().filter(|found| *found != path));
        at += taken.max(1);
    }
    (paths, at + 1)
}

/// The imports of a part's source that are not allowed.
fn forbidden(part: &str, source: &str) -> Vec<String> {
    let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == part).unwrap_or_else(|| panic!("{part}"));
    let is_forbidden = |path: &String| {
        let first = path.split("::").next().unwrap();
        let is_part = LAYERS.iter().any(|(name, _)| *name == first);
        let is_apart = APART.iter().any(|(of, apart)| *of == part && path.starts_with(apart));
        is_part && first != part && !allowed.contains(&first) || is_apart
    };
    paths(source).into_iter().filter(is_forbidden).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn no_part_knows_what_lies_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&root).iter().filter(|file| !file.ends_with("lib.rs")) {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let part = name.split(['/', '.']).next().unwrap();
        let found = forbidden(part, &fs::read_to_string(file).unwrap());
        assert!(found.is_empty(), "{name} imports {found:?}");
    }
}

#[test]
fn an_arrow_that_runs_back_up_is_noticed() {
    let up = "use crate::{\n    domain::{fold::Folded, position::Offset},\n    store::{self, apply},\n};";
    assert_eq!(forbidden("kafka", up), ["store::self", "store::apply"]);
    assert_eq!(
        forbidden("domain", "fn f() { crate::kafka::topic::copy() } // crate::store"),
        ["kafka::topic::copy"]
    );
    assert_eq!(forbidden("prove", up), ["domain::fold::Folded"]);
    assert!(forbidden("consume", up).is_empty());
}
