//! Links, and files that are named.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use dev_env::markdown::{anchors, code, prose};

use crate::pages::{documents, files};

/// Begins of paths that only a build, a run or an installation makes.
const MADE: [&str; 4] = ["target/", ".dev/", "var/", "etc/"];
/// A word with one of these endings and a slash in it is taken for a file of the repository.
const FILE_ENDINGS: [&str; 12] =
    [".rs", ".md", ".toml", ".yml", ".yaml", ".json", ".sql", ".sh", ".svg", ".py", ".patch", ".txt"];

/// What a document points at: a path from the root, and the section of it.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    path: PathBuf,
    anchor: Option<String>,
}

/// The targets of a line's links and pictures that lie in the repository.
fn links(directory: &Path, name: &str, line: &str) -> Vec<Link> {
    let (_, line) = code(line);
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        let Some((target, _)) = line.get(at + 2..).unwrap().split_once(')') else { continue };
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = match target.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor.to_owned())),
            None => (target, None),
        };
        let path = if path.is_empty() { PathBuf::from(name) } else { plain(&directory.join(path)) };
        found.push(Link { path, anchor });
    }
    found
}

/// A path without its steps up.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(plain.pop(), "{} leaves the repository", path.display()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Whether a word is a path of one file of the sources, written out.
fn is_path(word: &str) -> bool {
    word.contains('/')
        && FILE_ENDINGS.iter().any(|ending| word.ends_with(ending))
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'))
        && !word.starts_with('/')
        // `processor/src/commands/NAME.rs` stands for any.
        && !["NAME", "NNNN"].iter().any(|any| word.contains(any))
        && !MADE.iter().any(|made| word.trim_start_matches("./").starts_with(made))
}

#[test]
fn every_link_leads_to_a_file_and_to_a_section_of_it() {
    let files = files();
    let directories: BTreeSet<&Path> = files.iter().flat_map(|file| file.ancestors().skip(1)).collect();
    let pages = documents(&files);
    let mut broken = Vec::new();
    let mut seen = 0_u32;
    for page in &pages {
        for (number, line) in prose(&page.text) {
            for Link { path, anchor } in links(&page.directory, &page.name, line) {
                seen += 1;
                let place = format!("{}:{number}", page.name);
                if !files.contains(&path) && !directories.contains(path.as_path()) {
                    broken.push(format!("{place}: there is no {}", path.display()));
                } else if let Some(anchor) = anchor {
                    let target = pages.iter().find(|page| Path::new(&page.name) == path);
                    if !target.is_some_and(|target| anchors(&target.text).contains(&anchor)) {
                        broken.push(format!("{place}: {} has no section #{anchor}", path.display()));
                    }
                }
            }
        }
    }
    assert!(seen > 150, "only {seen} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Of the repository's root, or of where the document lies, or of a crate that the document speaks of.
#[test]
fn every_file_that_is_named_is_there() {
    let files = files();
    let is_there = |path: &str, directory: &Path| {
        let path = path.trim_start_matches("./");
        files.contains(&plain(&directory.join(path))) || files.iter().any(|file| file.ends_with(path))
    };
    let mut missing = Vec::new();
    let mut seen = 0_u32;
    for page in documents(&files).iter().filter(|page| !page.is_history()) {
        for (number, line) in prose(&page.text) {
            let named = code(line).0;
            let named =
                named.into_iter().flat_map(|span| span.split_whitespace()).filter(|word| is_path(word));
            for word in named {
                seen += 1;
                if !is_there(word, &page.directory) {
                    missing.push(format!("{}:{number}: there is no {word}", page.name));
                }
            }
        }
    }
    assert!(seen > 80, "only {seen} paths were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// A page that no other leads to is not found by whoever begins with the first one.
#[test]
fn every_page_can_be_reached_from_the_readme() {
    let pages = documents(&files());
    let mut reached = BTreeSet::new();
    let mut next = vec![PathBuf::from("README.md")];
    while let Some(path) = next.pop() {
        let Some(page) = pages.iter().find(|page| Path::new(&page.name) == path) else { continue };
        if reached.insert(path) {
            let targets = prose(&page.text).flat_map(|(_, line)| links(&page.directory, &page.name, line));
            // A link to a folder shows the page in it.
            next.extend(targets.flat_map(|link| [link.path.join("README.md"), link.path]));
        }
    }
    let is_lost = |name: &&str| !reached.contains(Path::new(name)) && !name.starts_with(".github/");
    let lost: Vec<&str> = pages.iter().map(|page| page.name.as_str()).filter(is_lost).collect();
    assert!(lost.is_empty(), "nothing leads to {}", lost.join(", "));
}

#[test]
fn links_are_read_as_a_page_shows_them() {
    let read = |line| links(Path::new("docs"), "docs/a.md", line);
    let link = |path: &str, anchor: Option<&str>| Link { path: path.into(), anchor: anchor.map(Into::into) };
    assert_eq!(read("[a](b.md), ![c](../d/e.svg)"), [link("docs/b.md", None), link("d/e.svg", None)]);
    assert_eq!(
        read("[a](#b) and [c](adr/d.md#e)"),
        [link("docs/a.md", Some("b")), link("docs/adr/d.md", Some("e"))]
    );
    assert_eq!(read("[a](https://b.example) and `[c](d)`"), []);
}
