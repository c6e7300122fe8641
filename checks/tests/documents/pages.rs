//! The documents, and what they show that is not known.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use dev_env::markdown::{is_history, shown};

pub struct Document {
    /// Its path from the root.
    pub name: String,
    pub directory: PathBuf,
    pub text: String,
}

impl Document {
    pub fn is_history(&self) -> bool {
        is_history(&self.name)
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
