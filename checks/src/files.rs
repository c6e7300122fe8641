//! The texts that a check reads, by their paths in the repository, and the same with one mistake in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Texts by path.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
    texts: BTreeMap<String, String>,
}

impl Files {
    /// Reads them.
    pub fn read(root: &Path, paths: &[&str]) -> Result<Self> {
        let read = |path: &&str| {
            let text = std::fs::read_to_string(root.join(path)).with_context(|| (*path).to_owned())?;
            Ok(((*path).to_owned(), text))
        };
        let texts = paths.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { root: root.to_owned(), texts })
    }

    /// One more text, which was made.
    pub fn insert(&mut self, path: &str, text: String) {
        self.texts.insert(path.to_owned(), text);
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A text; empty if it was not read.
    pub fn get(&self, path: &str) -> &str {
        self.texts.get(path).map(String::as_str).unwrap_or_default()
    }

    /// The documents among them.
    pub fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        let documents = self.texts.iter().filter(|(path, _)| path.ends_with(".md"));
        documents.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The same files with the first `find` in one of them replaced.
    pub fn with(&self, path: &str, find: &str, replace: &str) -> Result<Self> {
        let text = self.get(path);
        if !text.contains(find) {
            bail!("{path} holds no {find:?}");
        }
        let mut files = self.clone();
        files.insert(path, text.replacen(find, replace, 1));
        Ok(files)
    }
}
