//! What a value says. Of a long one only the beginning is looked at, so that what is around many items costs little.

use std::borrow::Cow;

/// Of a text so many bytes are looked at: the longest that a message may have has fewer, escapes included.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Of any other value; the longest id has fewer.
pub const WORD_BYTES_MAX: usize = 4 * 1024;

/// A value that a pointer points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// As JSON has it.
    Json(&'a str),
    /// Of a form or a query: text that needs no reading.
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// What it says: a string without quotes and escapes, a number as it is written, to the last digit. Nothing
    /// for `null`, `true`, `false`, an array and an object.
    ///
    /// Of one with more than `bytes_max`, the beginning: what is around the items is looked at once for each.
    pub fn text(&self, bytes_max: usize) -> Option<Cow<'_, str>> {
        let beginning = |text| beginning(text, bytes_max);
        match self {
            Self::Text(text) => Some(Cow::Borrowed(beginning(text))),
            Self::Json(json) => match json.as_bytes().first() {
                Some(b'"') => {
                    let text = json.get(1..json.len().saturating_sub(1))?;
                    Some(schemas::unescape(whole_escapes(beginning(text), text)).0)
                }
                Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(beginning(json))),
                _ => None,
            },
        }
    }

    /// What a condition compares: the text, or `true` and `false`. What is too long for a word is none.
    pub fn word(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Json(json @ ("true" | "false")) => Some(Cow::Borrowed(json)),
            Self::Json(text) if text.len() > WORD_BYTES_MAX => None,
            Self::Text(text) if text.len() > WORD_BYTES_MAX => None,
            value => value.text(WORD_BYTES_MAX),
        }
    }

    /// Whether there is more than `null`.
    pub fn is_present(&self) -> bool {
        *self != Self::Json("null")
    }
}

fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

/// The beginning of a JSON string without the escape that it may end within.
fn whole_escapes<'a>(beginning: &'a str, text: &str) -> &'a str {
    /// Of two units that are one character.
    const ESCAPE_BYTES_MAX: usize = 12;
    if beginning.len() == text.len() {
        return beginning;
    }
    let last = beginning.floor_char_boundary(beginning.len().saturating_sub(ESCAPE_BYTES_MAX));
    let escape = beginning.get(last..).and_then(|end| end.find('\\'));
    escape.and_then(|at| beginning.get(..last + at)).unwrap_or(beginning)
}
