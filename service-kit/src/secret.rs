//! Values that must not reach a log, an error or a metric: the type hides them, not a list of names.

use std::{fmt, path::Path, str::FromStr};

use crate::files;

/// A secret is short; a wrong path must not fill the memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A secret text, such as a database URL with its password. Debug and Display print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a file, without the line break at its end; as clap's `value_parser` it is read with
    /// the command line.
    ///
    /// # Errors
    /// The file, and why it could not be read.
    pub fn from_file(path: &str) -> Result<Self, String> {
        match files::read(Path::new(path), FILE_BYTES_MAX)?.trim_end() {
            "" => Err(format!("{path} is empty")),
            text => Ok(Self(text.to_owned())),
        }
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::from("postgres://telex:hunter2@db".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert!(secret.expose().contains("hunter2"));
    }

    #[test]
    fn a_secret_in_a_file_ends_before_its_line_break() {
        let path = std::env::temp_dir().join(format!("telex-secret-{}", std::process::id()));
        let path = path.to_str().unwrap();
        std::fs::write(path, "hunter2\n").unwrap();
        assert_eq!(Secret::from_file(path).unwrap().expose(), "hunter2");
        std::fs::write(path, "\n").unwrap();
        assert!(Secret::from_file(path).unwrap_err().ends_with("is empty"));
        std::fs::write(path, "x".repeat(65_537)).unwrap();
        assert!(Secret::from_file(path).unwrap_err().ends_with("larger than 65536 bytes"));
        std::fs::remove_file(path).unwrap();
        assert!(Secret::from_file(path).unwrap_err().contains("cannot be read"));
    }
}
