//! From the body of a batch to its items, each as its own bytes: a JSON array, or a JSON document a
//! line (NDJSON). What an item says is nobody's business here, so that one bad item never costs the others.

use serde::de::IgnoredAny;

use crate::{
    fields::without_mark,
    reason::{Invalid, InvalidReason},
};

pub const ITEMS_MAX: usize = 1_000;

/// The items of a JSON array, in their order.
///
/// The array is one document: where it is not JSON, nothing of it is taken. What breaks a message's rules, such
/// as nesting too deeply, is its item's fault.
///
/// # Errors
/// The document is not JSON or not an array, or holds no item, or more than [`ITEMS_MAX`].
pub fn json_array(body: &[u8]) -> Result<Vec<&[u8]>, Invalid> {
    let malformed = || Invalid::new(InvalidReason::MalformedJson, "", "must be one JSON document in UTF-8");
    let text = std::str::from_utf8(without_mark(body)).map_err(|_| malformed())?;
    let Some(inside) = skip_white_space(text).strip_prefix('[') else {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Invalid::new(InvalidReason::WrongType, "", "must be a JSON array"),
            Err(_) => malformed(),
        });
    };
    let mut items = Items::default();
    let mut rest = skip_white_space(inside);
    if let Some(after) = rest.strip_prefix(']') {
        rest = after;
    } else {
        loop {
            let (item, after) = value(rest).ok_or_else(malformed)?;
            items.push(item.as_bytes());
            rest = skip_white_space(after);
            if let Some(after) = rest.strip_prefix(',') {
                rest = skip_white_space(after);
            } else {
                rest = rest.strip_prefix(']').ok_or_else(malformed)?;
                break;
            }
        }
    }
    if skip_white_space(rest).is_empty() { items.checked() } else { Err(malformed()) }
}

/// The items of a document a line, in their order. Lines end with `\n` or `\r\n`; those that hold white
/// space only are not items.
///
/// # Errors
/// There is no item, or there are more than [`ITEMS_MAX`].
pub fn ndjson(body: &[u8]) -> Result<Vec<&[u8]>, Invalid> {
    let mut items = Items::default();
    for line in without_mark(body).split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.iter().all(|&byte| is_white_space(byte)) {
            items.push(line);
        }
    }
    items.checked()
}

/// Keeps no more than may be taken, and counts on.
#[derive(Default)]
struct Items<'a> {
    kept: Vec<&'a [u8]>,
    count: usize,
}

impl<'a> Items<'a> {
    fn push(&mut self, item: &'a [u8]) {
        self.count += 1;
        if self.count <= ITEMS_MAX {
            self.kept.push(item);
        }
    }

    fn checked(self) -> Result<Vec<&'a [u8]>, Invalid> {
        match self.count {
            0 => Err(Invalid::new(InvalidReason::Empty, "", "must hold 1 to 1000 items")),
            1..=ITEMS_MAX => Ok(self.kept),
            _ => Err(Invalid::new(InvalidReason::TooLong, "", "must hold 1 to 1000 items")),
        }
    }
}

/// The JSON value at the beginning of `text`, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    text.split_at_checked(values.byte_offset())
}

/// As JSON has it.
const fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn skip_white_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    type Split = fn(&[u8]) -> Result<Vec<&[u8]>, Invalid>;

    fn texts(items: Vec<&[u8]>) -> Vec<&str> {
        items.into_iter().map(|item| std::str::from_utf8(item).unwrap()).collect()
    }

    #[rstest]
    #[case::one(r#"[{"a":1}]"#, &[r#"{"a":1}"#])]
    #[case::spaced(" [ 1 ,\n\t\"a,]\" ,{\"b\":[1,2]}\r ] ", &["1", "\"a,]\"", r#"{"b":[1,2]}"#])]
    #[case::escapes(r#"["\"]\\",true]"#, &[r#""\"]\\""#, "true"])]
    #[case::faults_of_an_item(r#"[{"t":"\ud800"},1e400,2]"#, &[r#"{"t":"\ud800"}"#, "1e400", "2"])]
    fn an_array_is_split_into_its_items(#[case] body: &str, #[case] items: &[&str]) {
        assert_eq!(texts(json_array(body.as_bytes()).unwrap()), items);
    }

    #[rstest]
    #[case::nothing("")]
    #[case::open("[")]
    #[case::not_closed("[1")]
    #[case::no_comma("[1 2]")]
    #[case::comma_first("[,1]")]
    #[case::comma_last("[1,]")]
    #[case::item_broken(r#"[1,{"a":},2]"#)]
    #[case::trailing("[1] 2")]
    #[case::two_arrays("[1][2]")]
    #[case::words("hello")]
    #[case::lines("{}\n{}")]
    fn a_broken_array_is_refused_as_a_whole(#[case] body: &str) {
        let invalid = json_array(body.as_bytes()).unwrap_err();
        assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::MalformedJson, ""));
    }

    #[test]
    fn an_array_in_another_encoding_than_utf8_is_malformed() {
        assert_eq!(json_array(b"[\"\xff\"]").unwrap_err().reason, InvalidReason::MalformedJson);
    }

    #[rstest]
    #[case("{}")]
    #[case(" null")]
    #[case("\"[]\"")]
    fn another_document_than_an_array_has_the_wrong_type(#[case] body: &str) {
        assert_eq!(json_array(body.as_bytes()).unwrap_err().reason, InvalidReason::WrongType);
    }

    #[test]
    fn lines_are_split_and_blank_ones_are_not_items() {
        let items = ndjson(b"{\"a\":1}\r\n\n  \t\r\n{broken\n \xff\n{\"b\":\"\\n\"}").unwrap();
        assert_eq!(items, [&b"{\"a\":1}"[..], b"{broken", b" \xff", b"{\"b\":\"\\n\"}"]);
    }

    #[rstest]
    #[case::array(json_array, "[", ",", "]")]
    #[case::lines(ndjson, "", "\n", "\n")]
    fn one_to_a_thousand_items_are_taken(
        #[case] split: Split,
        #[case] open: &str,
        #[case] between: &str,
        #[case] close: &str,
    ) {
        let body = |count: usize| format!("{open}{}{close}", vec!["7"; count].join(between));
        assert_eq!(split(body(0).as_bytes()).unwrap_err().reason, InvalidReason::Empty);
        assert_eq!(split(body(ITEMS_MAX).as_bytes()).unwrap().len(), ITEMS_MAX);
        assert_eq!(split(body(ITEMS_MAX + 1).as_bytes()).unwrap_err().reason, InvalidReason::TooLong);
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(json_array(deep.as_bytes()).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_splitter_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _outcomes = (json_array(&body), ndjson(&body));
        }

        #[test]
        fn what_was_joined_is_split_the_same(
            items in prop::collection::vec("\"[a-z,\\]\\[{}]{0,8}\"|[1-9]{1,3}|\\{\"k\":\\[1, 2\\]\\}", 1..20),
        ) {
            let (array, lines) = (format!("[{}]", items.join(" , ")), items.join("\n"));
            prop_assert_eq!(&texts(json_array(array.as_bytes()).unwrap()), &items);
            prop_assert_eq!(&texts(ndjson(lines.as_bytes()).unwrap()), &items);
        }
    }
}
