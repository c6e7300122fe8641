//! How a field of a message is made of what a provider sends.

use serde::Deserialize;

use crate::{
    condition::{Check, Condition},
    pointer::Pointer,
    walk::{Found, FoundItem, Places, Slot, TEXT_BYTES_MAX, WORD_BYTES_MAX},
};

/// A field as a description writes it.
///
/// ```toml
/// phone = { from = ["/payload/from"], remove_suffixes = ["@c.us"], digits = true, plus = true }
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Where it lies: the first place that holds something. Empty strings and `null` are nothing.
    #[serde(default)]
    pub from: Vec<Pointer>,
    /// All of `from` with this between them, instead of the first: then each has to hold something.
    pub join: Option<String>,
    /// What it is where no place holds something.
    pub otherwise: Option<String>,
    /// Taken away from the beginning: the first that fits.
    #[serde(default)]
    pub remove_prefixes: Vec<String>,
    /// Taken away from the end: the first that fits.
    #[serde(default)]
    pub remove_suffixes: Vec<String>,
    /// What follows this is cut off, and this.
    pub cut_at: Option<char>,
    /// It counts only if it is digits, perhaps after a `+`: anything else is nothing.
    #[serde(default)]
    pub digits: bool,
    /// A `+` is put before it, unless it begins with one.
    #[serde(default)]
    pub plus: bool,
    /// Put before all of it.
    #[serde(default)]
    pub add: String,
    /// It counts only if this holds.
    pub when: Option<Condition>,
}

/// A field that knows its places.
#[derive(Debug)]
pub struct Maker {
    places: Vec<(Slot, usize)>,
    when: Option<Check>,
    field: Field,
    /// Of a value so many bytes are looked at.
    bytes_max: usize,
    /// It tells people or messages apart: one with U+FFFD, which stands for what could not be read, is nothing.
    is_identifier: bool,
}

impl Field {
    /// # Errors
    /// It is nowhere.
    pub(crate) fn compile(&self, name: &str, places: &mut Places) -> Result<Maker, String> {
        if self.from.is_empty() && self.otherwise.is_none() {
            return Err(format!("{name}: must have a place in `from`, or `otherwise`"));
        }
        let when = self.when.as_ref().map(|condition| condition.compile(places)).transpose()?;
        let from = self.from.iter().map(|pointer| (places.slot(pointer), pointer.stars())).collect();
        let is_identifier = name != "text";
        let bytes_max = if is_identifier { WORD_BYTES_MAX } else { TEXT_BYTES_MAX };
        Ok(Maker { places: from, when, field: self.clone(), bytes_max, is_identifier })
    }
}

impl Maker {
    /// The field of an item, if there is one.
    pub fn make(&self, found: &Found<'_>, item: FoundItem) -> Option<String> {
        if self.when.as_ref().is_some_and(|when| !when.holds(found, item)) {
            return None;
        }
        let text_at = |(slot, stars): &(Slot, usize)| {
            let text = found.value(*slot, *stars, item)?.text(self.bytes_max)?;
            let is_readable = !self.is_identifier || !text.contains(char::REPLACEMENT_CHARACTER);
            if is_readable { self.shape(&text) } else { None }
        };
        let read = match &self.field.join {
            None => self.places.iter().find_map(text_at),
            Some(join) => {
                let parts: Option<Vec<String>> = self.places.iter().map(text_at).collect();
                parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join(join))
            }
        };
        let read = read.map(|text| format!("{}{text}", self.field.add));
        read.or_else(|| self.field.otherwise.clone())
    }

    fn shape(&self, text: &str) -> Option<String> {
        let Field { remove_prefixes, remove_suffixes, cut_at, digits, plus, .. } = &self.field;
        let text =
            remove_prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_str())).unwrap_or(text);
        let text =
            remove_suffixes.iter().find_map(|suffix| text.strip_suffix(suffix.as_str())).unwrap_or(text);
        let text = cut_at.and_then(|at| text.split_once(at)).map_or(text, |(before, _)| before);
        let number = text.strip_prefix('+').unwrap_or(text);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if text.is_empty() || *digits && !is_number {
            return None;
        }
        Some(if *plus { format!("+{number}") } else { text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn make(field: &str, document: &str) -> Option<String> {
        let field: Field = toml::from_str(field).unwrap();
        let mut places = Places::new(None);
        let maker = field.compile("field", &mut places).unwrap();
        let found = Found::in_json(&places, document).unwrap();
        maker.make(&found, found.items()[0])
    }

    #[rstest]
    #[case::first(r#"from = ["/a", "/b"]"#, r#"{"a": "", "b": "x"}"#, Some("x"))]
    #[case::null(r#"from = ["/a"]"#, r#"{"a": null}"#, None)]
    #[case::number_to_the_last_digit(
        r#"from = ["/a"]"#,
        r#"{"a": 5741311803571721087}"#,
        Some("5741311803571721087")
    )]
    #[case::escapes(r#"from = ["/a"]"#, r#"{"a": "\u00e9\ud83d\ude00\n"}"#, Some("é😀\n"))]
    #[case::otherwise("from = [\"/a\"]\notherwise = \"\"", "{}", Some(""))]
    #[case::joined("from = [\"/a\", \"/b\"]\njoin = \":\"", r#"{"a": 1, "b": 2}"#, Some("1:2"))]
    #[case::joined_with_a_gap("from = [\"/a\", \"/b\"]\njoin = \":\"", r#"{"a": 1}"#, None)]
    #[case::jid(
        "from = [\"/a\"]\nremove_suffixes = [\"@c.us\"]\ndigits = true\nplus = true",
        r#"{"a": "447@c.us"}"#,
        Some("+447")
    )]
    #[case::hidden(
        "from = [\"/a\"]\nremove_suffixes = [\"@c.us\"]\ndigits = true",
        r#"{"a": "447@lid"}"#,
        None
    )]
    #[case::device("from = [\"/a\"]\ncut_at = \":\"\nplus = true", r#"{"a": "+447:12"}"#, Some("+447"))]
    #[case::letters("from = [\"/a\"]\ndigits = true", r#"{"a": "Shop"}"#, None)]
    #[case::added("from = [\"/a\"]\nadd = \"wa-\"", r#"{"a": 7}"#, Some("wa-7"))]
    #[case::only_when("from = [\"/a\"]\nwhen = { at = \"/t\", is = [\"x\"] }", r#"{"a": 7, "t": "y"}"#, None)]
    #[case::half_a_character(r#"from = ["/a"]"#, r#"{"a": "x\ud800"}"#, None)]
    #[case::object(r#"from = ["/a"]"#, r#"{"a": {"b": 1}}"#, None)]
    fn a_field_is_made_of_the_first_place_that_holds_something(
        #[case] field: &str,
        #[case] document: &str,
        #[case] made: Option<&str>,
    ) {
        assert_eq!(make(field, document).as_deref(), made);
    }
}
