//! The shape of the sources. Arrows run down: nothing in the processor's `domain/` knows Kafka or PostgreSQL, `prove`,
//! the second opinion, shares no fold with what it checks, and no files of a package import each other in a circle.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each part of the processor, a folder or a file, with what it may import.
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

/// Packages without a circle.
const ACYCLIC: [&str; 6] = ["bench", "hooks", "ingest-api", "loadtest", "processor", "service-kit"];

/// The packages whose comments cite numbers.
const PACKAGES: [&str; 11] = [
    "bench",
    "checks",
    "dev-env",
    "hooks",
    "ingest-api",
    "kafka-ffi",
    "loadtest",
    "processor",
    "schemas",
    "service-kit",
    "torture",
];

/// What the numbers count: requirements, security rules, invariants of the log, of the tables and of the field.
const KINDS: [char; 6] = ['R', 'S', 'I', 'P', 'A', 'B'];

/// What a file of the module `module` imports from its own package: paths from the package's root.
fn imports(module: &[&str], source: &str) -> Vec<Vec<String>> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let code: String = source.lines().map(|line| line.split("//").next().unwrap().to_owned() + " ").collect();
    let (mut found, parent) = (Vec::new(), &module[..module.len().saturating_sub(1)]);
    for (root, base) in [("crate::", &[][..]), ("use super::", parent), ("use self::", module)] {
        for (at, _) in code.match_indices(root) {
            for path in tree("", &code[at + root.len()..]).0 {
                let mut path: Vec<&str> = path.split("::").collect();
                let up = path.iter().take_while(|name| **name == "super").count();
                let base = &base[..base.len().saturating_sub(up)];
                path.drain(..up);
                found.push(base.iter().chain(&path).map(|name| (*name).to_owned()).collect());
            }
        }
    }
    found
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

/// The imports that a part of the processor may not have.
fn forbidden(module: &[&str], source: &str) -> Vec<String> {
    let part = module[0];
    let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == part).unwrap_or_else(|| panic!("{part}"));
    let is_forbidden = |path: &Vec<String>| {
        let first = path[0].as_str();
        let is_part = LAYERS.iter().any(|(name, _)| *name == first);
        let is_apart = APART.iter().any(|(of, apart)| *of == part && path.join("::").starts_with(apart));
        (is_part && first != part && !allowed.contains(&first)) || is_apart
    };
    imports(module, source).into_iter().filter(is_forbidden).map(|path| path.join("::")).collect()
}

/// Files by their modules; the roots of a package, which know all, are left out.
fn modules(package: &str) -> BTreeMap<Vec<String>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
    let of = |file: PathBuf| {
        let name = file.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Vec<String> = name.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| last == "mod");
        let is_kept = !["lib", "main", "tests"].contains(&module.last().unwrap().as_str());
        is_kept.then(|| (module, fs::read_to_string(file).unwrap()))
    };
    sources(&root).into_iter().filter_map(of).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn names(module: &[String]) -> Vec<&str> {
    module.iter().map(String::as_str).collect()
}

/// Modules that are left when those that import nothing else are taken away, again and again.
fn circle(modules: &BTreeMap<Vec<String>, String>) -> BTreeSet<String> {
    let mut left: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, source) in modules {
        let of = |path: Vec<String>| {
            (1..=path.len())
                .rev()
                .find_map(|length| modules.get_key_value(&path[..length]))
                .map(|(found, _)| found)
        };
        let found = imports(&names(module), source).into_iter().filter_map(of);
        left.insert(module, found.filter(|found| *found != module).map(Vec::as_slice).collect());
    }
    loop {
        let is_left: BTreeSet<&[String]> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, imported| imported.iter().any(|module| is_left.contains(module)));
        if left.len() == before {
            return left.keys().map(|module| module.join("::")).collect();
        }
    }
}

/// The numbers that a comment cites, such as `R12` or `pitfalls 7`.
fn numbers(comment: &str) -> Vec<String> {
    let words: Vec<&str> =
        comment.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_number =
        |text: &str| !text.is_empty() && text.len() < 3 && text.chars().all(|c| c.is_ascii_digit());
    let is_code = |word: &str| word.starts_with(KINDS) && is_number(&word[1..]);
    let mut found: Vec<String> =
        words.iter().filter(|word| is_code(word)).map(|word| (*word).to_owned()).collect();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "pitfalls") {
        let cited = words[at + 1..].iter().take_while(|word| is_number(word));
        found.extend(cited.map(|number| format!("pitfalls {number}")));
    }
    found
}

#[test]
fn each_number_in_a_comment_is_said_in_words_in_the_table_of_architecture_md() {
    assert_eq!(numbers("a trap (R99, pitfalls 3, 40)"), ["R99", "pitfalls 3", "pitfalls 40"]);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(workspace.join("docs/architecture.md")).unwrap();
    let table = page.split("## Numbers in comments").nth(1).unwrap();
    let known: BTreeSet<String> =
        table.lines().filter_map(|line| line.split('|').nth(1)).flat_map(numbers).collect();
    for package in PACKAGES {
        for file in ["src", "tests"].iter().flat_map(|part| sources(&workspace.join(package).join(part))) {
            let source = fs::read_to_string(&file).unwrap();
            let comments = source.lines().filter_map(|line| Some(line.split_once("//")?.1));
            let unknown: Vec<String> =
                comments.flat_map(numbers).filter(|number| !known.contains(number)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
        }
    }
}

#[test]
fn no_part_of_the_processor_knows_what_lies_above_it() {
    for (module, source) in modules("processor") {
        let found = forbidden(&names(&module), &source);
        assert!(found.is_empty(), "{} imports {found:?}", module.join("::"));
    }
}

#[test]
fn no_files_of_a_package_import_each_other_in_a_circle() {
    for package in ACYCLIC {
        assert_eq!(circle(&modules(package)), BTreeSet::new(), "{package}");
    }
}

#[test]
fn an_arrow_that_runs_back_up_is_noticed() {
    let up = "use crate::{\n    domain::{fold::Folded, position::Offset},\n    store::{self, apply},\n};";
    assert_eq!(forbidden(&["kafka", "topic"], up), ["store::self", "store::apply"]);
    let inline = "fn f() { crate::kafka::topic::copy() } // crate::store";
    assert_eq!(forbidden(&["domain", "fold"], inline), ["kafka::topic::copy"]);
    assert_eq!(forbidden(&["prove", "scope"], up), ["domain::fold::Folded"]);
    assert!(forbidden(&["consume", "lane"], up).is_empty());
    assert_eq!(forbidden(&["store", "apply"], "use super::super::consume::batch;"), ["consume::batch"]);
}

#[test]
fn a_circle_is_noticed() {
    let file = |name: &str, source: &str| (vec![name.to_owned()], source.to_owned());
    let line = [file("a", "use crate::b::B;"), file("b", "use super::c;"), file("c", "use std::fmt;")];
    assert_eq!(circle(&line.clone().into()), BTreeSet::new());
    let ring = [&line[..2], &[file("c", "use crate::{a::A, b::B};")]].concat();
    assert_eq!(circle(&ring.into_iter().collect()).len(), 3);
}
