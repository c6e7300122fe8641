//! YAML as values, and the few ways in which the checks look into them. What is not there reads as null, an empty text
//! or an empty list: a check says what it misses in its own words.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The documents of a text.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("this is no YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The one document of a text.
pub fn document(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).context("this is no YAML")
}

static NULL: Value = Value::Null;

pub trait Look {
    /// What is at a JSON pointer.
    fn at(&self, pointer: &str) -> &Value;
    /// The text there; a number or a truth value as text.
    fn text(&self, pointer: &str) -> String;
    fn list(&self, pointer: &str) -> &[Value];
    /// The names and values there.
    fn map(&self, pointer: &str) -> Vec<(&str, &Value)>;
    fn number(&self, pointer: &str) -> Option<i64>;
    /// The texts of the list there; a single text is a list of one.
    fn texts(&self, pointer: &str) -> Vec<String>;
}

impl Look for Value {
    fn at(&self, pointer: &str) -> &Value {
        self.pointer(pointer).unwrap_or(&NULL)
    }

    fn text(&self, pointer: &str) -> String {
        match self.at(pointer) {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn map(&self, pointer: &str) -> Vec<(&str, &Value)> {
        let map = self.at(pointer).as_object();
        map.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }

    fn number(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).as_i64()
    }

    fn texts(&self, pointer: &str) -> Vec<String> {
        match self.at(pointer) {
            Value::Array(list) => list.iter().map(|value| value.text("")).collect(),
            Value::Null => Vec::new(),
            other => vec![other.text("")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_merges_are_followed_and_a_repeated_key_is_refused() {
        let text = "x: &x {a: 1, b: yes-man}\ny:\n  <<: *x\n  a: 2\n";
        let value = document(text).unwrap();
        assert_eq!(
            (value.text("/y/a"), value.text("/y/b"), value.text("/y/c")),
            ("2".into(), "yes-man".into(), String::new())
        );
        assert!(document("a: 1\na: 2\n").is_err());
        assert_eq!(documents("a: 1\n---\n---\nb: 2\n").unwrap().len(), 2);
    }
}
