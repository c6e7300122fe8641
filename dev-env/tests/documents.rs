//! What the documents point at is there: files, sections, pages of the repository, targets of the Makefile. The
//! programs' command lines are held against the programs by `make k8s-check`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

/// Begins of paths that only a build, a run or an installation makes.
const MADE: [&str; 4] = ["target/", ".dev/", "var/", "etc/"];
/// A word with one of these endings and a slash in it is taken for a file of the repository.
const FILE_ENDINGS: [&str; 12] =
    [".rs", ".md", ".toml", ".yml", ".yaml", ".json", ".sql", ".sh", ".svg", ".py", ".patch", ".txt"];

struct Document {
    /// Its path from the root, for people.
    name: String,
    directory: PathBuf,
    text: String,
}

/// What a document points at: a path from the root, and the section of it.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    path: PathBuf,
    anchor: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of the sources, by their paths from the root.
fn files() -> BTreeSet<PathBuf> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let names = String::from_utf8(list.output().unwrap().stdout).unwrap();
    names.split_terminator('\0').map(PathBuf::from).filter(|path| root().join(path).exists()).collect()
}

fn documents(files: &BTreeSet<PathBuf>) -> Vec<Document> {
    // The beginning of docs/benchmarks.md: links go from there.
    let is_document = |path: &&PathBuf| {
        path.extension().is_some_and(|extension| extension == "md")
            && **path != Path::new("bench/src/benchmarks.head.md")
    };
    let pages: Vec<Document> = files
        .iter()
        .filter(is_document)
        .map(|path| Document {
            name: path.display().to_string(),
            directory: path.parent().unwrap().to_owned(),
            text: fs::read_to_string(root().join(path)).unwrap(),
        })
        .collect();
    assert!(pages.len() > 30, "only {} documents were found", pages.len());
    pages
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fenced && !is_fence).then_some((index + 1, line))
    })
}

/// What stands between backticks in a line, and the line without it.
fn code(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let inside = parts.iter().skip(1).step_by(2).copied().collect();
    (inside, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("``"))
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

/// The names by which a page's sections are linked to, as GitHub makes them: lower case, without punctuation, spaces
/// as hyphens, a number at what comes again; and those that the page gives.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let named = prose(text)
        .filter_map(|(_, line)| Some(line.split_once("<a id=\"")?.1.split_once('"')?.0.to_owned()));
    headings
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().replace('`', "");
            let anchor: String = title
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
        })
        .chain(named)
        .collect()
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
    for page in documents(&files) {
        // What was, is named there as it was.
        if page.name == "CHANGELOG.md" || page.name.starts_with("docs/adr/") {
            continue;
        }
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

#[test]
fn every_make_target_that_is_shown_is_one() {
    let files = files();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .filter(|target| target.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '0'..='9')))
        .collect();
    let mut unknown = Vec::new();
    let mut seen = 0_u32;
    for page in documents(&files) {
        let mut is_fenced = false;
        for (index, line) in page.text.lines().enumerate() {
            is_fenced ^= line.trim_start().starts_with("```");
            let shown = if is_fenced { vec![line] } else { code(line).0 };
            for command in shown.iter().flat_map(|shown| shown.split(['#', ';', '&', '|'])) {
                let mut words = command.trim().trim_start_matches("$ ").split_whitespace();
                let Some("make") = words.next() else { continue };
                // The others are variables.
                let Some(target) = words.find(|word| !word.contains('=')) else { continue };
                seen += 1;
                // `make …-check` speaks of several.
                if !targets.contains(target) && !target.contains('…') {
                    unknown.push(format!("{}:{}: make {target}", page.name, index + 1));
                }
            }
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
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

#[test]
fn sections_are_named_as_github_names_them() {
    let text = "# A `b`: c, d!\n\n```\n# not one\n```\n\n## Ä/e\n\n## e\n\n## e\n\n<a id=\"f\"></a>\n";
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c-d", "äe", "e", "e-1", "f"].map(str::to_owned)));
}
