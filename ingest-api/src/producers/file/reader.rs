//! What all tables of the producers file have in common: secrets, names, and problems that are told at once.

use std::path::Path;

use serde::Deserialize;
use service_kit::{Problems, Secret};

use crate::files::Files;

const NAME_BYTES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecret {
    secret: Option<String>,
    secret_file: Option<String>,
    secret_env: Option<String>,
}

/// Reads what a table of the file says, and remembers everything that is wrong.
pub(super) struct Reader<'a, V> {
    /// Of the file.
    pub text: &'a str,
    pub directory: &'a Path,
    pub files: &'a mut Files,
    pub variable: V,
    pub problems: Problems,
}

impl<V: Fn(&str) -> Option<String>> Reader<'_, V> {
    /// The text of a secret, wherever it stands.
    pub fn secret_text(&mut self, raw: &RawSecret) -> Result<Secret, String> {
        let text = match (&raw.secret, &raw.secret_file, &raw.secret_env) {
            (Some(text), None, None) => Ok(text.clone()),
            (None, Some(file), None) => self.files.read(&self.directory.join(file)),
            (None, None, Some(name)) => {
                (self.variable)(name).ok_or_else(|| format!("the variable {name} is not set"))
            }
            _ => Err("must have one of secret, secret_file and secret_env".to_owned()),
        };
        text.map(Secret::from)
    }

    /// The line of a place in the file.
    pub fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }

    pub fn keep<T>(&mut self, place: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|problem| self.problems.push(format!("{place}: {problem}"))).ok()
    }
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}
