//! The documents, and what of them is prose, what is shown as code.

use std::{
    collections::BTreeSet,
    fs, mem,
    path::{Path, PathBuf},
    process::Command,
};

pub struct Document {
    /// Its path from the root.
    pub name: String,
    pub directory: PathBuf,
    pub text: String,
}

impl Document {
    /// Whether it says what was, by the names that things had then.
    pub fn is_history(&self) -> bool {
        self.name == "CHANGELOG.md" || self.name.starts_with("docs/adr/")
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the sources, by its path from the root.
pub fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// All files of the sources, by their paths from the root.
pub fn files() -> BTreeSet<PathBuf> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let names = String::from_utf8(list.output().unwrap().stdout).unwrap();
    names.split_terminator('\0').map(PathBuf::from).filter(|path| root().join(path).exists()).collect()
}

pub fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

pub fn documents(files: &BTreeSet<PathBuf>) -> Vec<Document> {
    // The beginning of docs/benchmarks.md: links go from there.
    let is_page = |path: &&PathBuf| is_document(path) && **path != Path::new("bench/src/benchmarks.head.md");
    let pages: Vec<Document> = files
        .iter()
        .filter(is_page)
        .map(|path| Document {
            name: path.display().to_string(),
            directory: path.parent().unwrap().to_owned(),
            text: read(path),
        })
        .collect();
    assert!(pages.len() > 30, "only {} documents were found", pages.len());
    pages
}

/// The lines outside of fenced blocks, with their numbers.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fenced && !is_fence).then_some((index + 1, line))
    })
}

/// What stands between backticks in a line, and the line without it.
pub fn code(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let inside = parts.iter().skip(1).step_by(2).copied().collect();
    (inside, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("``"))
}

/// What is shown as code, with the number of its line: each span between backticks, and each line of a fenced block, as
/// one with those that it goes on in.
pub fn shown(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    let mut begun = String::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            is_fenced = !is_fenced;
            begun.clear();
        } else if !is_fenced {
            found.extend(code(line).0.into_iter().map(|span| (index + 1, span.to_owned())));
        } else if let Some(beginning) = trimmed.strip_suffix('\\') {
            begun += beginning;
        } else {
            found.push((index + 1, mem::take(&mut begun) + trimmed));
        }
    }
    found
}

#[test]
fn a_command_of_several_lines_is_one() {
    let text = "Type `make x`, or:\n```sh\nmake y \\\n  A=1\nmake z\n```\n`--b`\n";
    let expected = [(1, "make x"), (4, "make y A=1"), (5, "make z"), (7, "--b")];
    assert_eq!(shown(text), expected.map(|(line, shown)| (line, shown.to_owned())));
}

/// Where the documents show something that is not known, of what `named` finds in them: more than `least` of it, or
/// it is not found any more.
pub fn unknown(
    files: &BTreeSet<PathBuf>,
    least: u32,
    named: impl Fn(&str) -> Vec<&str>,
    is_known: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut seen = 0_u32;
    for page in documents(files).iter().filter(|page| !page.is_history()) {
        for (number, shown) in shown(&page.text) {
            for name in named(&shown) {
                seen += 1;
                if !is_known(name) {
                    unknown.push(format!("{}:{number}: {name}", page.name));
                }
            }
        }
    }
    assert!(seen > least, "only {seen} were found");
    unknown
}
