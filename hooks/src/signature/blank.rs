//! Blanks secrets in a document, however it spells them. Everything else stays as it came: the document can be read
//! again, and is no longer than before.

use schemas::unescape;
use serde_json::Value;

const BLANK: &str = "***";

/// In a JSON text: in strings, whatever is escaped in them, and as a number.
pub(super) fn in_json(text: &str, secrets: &[String]) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((between, behind)) = rest.split_once('"') {
        push_between(&mut clean, between, secrets);
        clean.push('"');
        let end = end_of_string(behind);
        let (string, behind) = behind.split_at_checked(end).unwrap_or((behind, ""));
        push_string(&mut clean, string, secrets);
        rest = match behind.strip_prefix('"') {
            Some(behind) => {
                clean.push('"');
                behind
            }
            None => behind,
        };
    }
    push_between(&mut clean, rest, secrets);
    clean
}

/// Where a string ends whose first quote is passed.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let ends = |character: char| {
        let ends = character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        ends
    };
    text.find(ends).unwrap_or(text.len())
}

/// What stands between the quotes of a string.
fn push_string(clean: &mut String, string: &str, secrets: &[String]) {
    let (plain, _) = unescape(string);
    if !secrets.iter().any(|secret| plain.contains(secret.as_str())) {
        clean.push_str(string);
        return;
    }
    let blanked = secrets.iter().fold(plain.into_owned(), |plain, secret| plain.replace(secret, BLANK));
    // With its quotes, which are there already.
    let escaped = Value::from(blanked).to_string();
    clean.push_str(escaped.get(1..escaped.len() - 1).unwrap_or_default());
}

/// What stands between two strings. A number that is a secret becomes a string, so that the text stays JSON.
fn push_between(clean: &mut String, between: &str, secrets: &[String]) {
    let is_of_none = |character: char| !matches!(character, '0'..='9' | '-' | '+' | '.' | 'e' | 'E');
    for piece in between.split_inclusive(is_of_none) {
        let number = piece.trim_end_matches(is_of_none);
        if secrets.iter().any(|secret| secret == number) {
            clean.extend(["\"", BLANK, "\""]);
        } else {
            clean.push_str(number);
        }
        clean.push_str(piece.get(number.len()..).unwrap_or_default());
    }
}

/// In a form or a query, whatever is percent-encoded.
pub(super) fn in_fields(text: &str, secrets: &[String]) -> String {
    let fields: Vec<String> = text.split('&').map(|field| in_field(field, secrets)).collect();
    fields.join("&")
}

fn in_field(field: &str, secrets: &[String]) -> String {
    let (mut clean, mut rest) = (String::with_capacity(field.len()), field);
    while let Some(first) = rest.chars().next() {
        let written = secrets.iter().find_map(|secret| written_as(rest.as_bytes(), secret.as_bytes()));
        let passed = match written {
            Some(length) => {
                clean.push_str(BLANK);
                length
            }
            None => {
                clean.push(first);
                first.len_utf8()
            }
        };
        rest = rest.get(passed..).unwrap_or_default();
    }
    clean
}

/// In how many bytes a text begins with the secret, if it does.
fn written_as(text: &[u8], secret: &[u8]) -> Option<usize> {
    secret.iter().try_fold(0, |at: usize, expected| {
        let (byte, length) = first_byte(text.get(at..)?)?;
        (byte == *expected).then_some(at + length)
    })
}

/// The byte that a field begins with, and in how many it is written.
fn first_byte(text: &[u8]) -> Option<(u8, usize)> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match text {
        [b'%', high, low, ..] => match digit(high).zip(digit(low)) {
            Some((high, low)) => Some((high << 4 | low, 3)),
            None => Some((b'%', 1)),
        },
        [b'+', ..] => Some((b' ', 1)),
        [itself, ..] => Some((*itself, 1)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn secrets() -> [String; 3] {
        ["a/secret of\u{e9} 16", "a%2Fsecret+of%C3%A9+16", "1234567890123456"].map(str::to_owned)
    }

    #[rstest]
    #[case::as_it_is("{\"key\": \"a/secret of\u{e9} 16\"}", r#"{"key": "***"}"#)]
    #[case::a_slash("{\"key\": \"a\\/secret of\u{e9} 16\"}", r#"{"key": "***"}"#)]
    #[case::escapes(r#"{"key": "\u0061/s\u0065cret of\u00E9 16"}"#, r#"{"key": "***"}"#)]
    #[case::among_others(r#"["\"\\\n\u0001", "a\/secret of\u00e9 16"]"#, r#"["\"\\\n\u0001", "***"]"#)]
    #[case::within_one(
        r#"{"u": "\u0022\\\n\u0001\u007Aa\/secret of\u00e9 16\/"}"#,
        "{\"u\": \"\\\"\\\\\\n\\u0001z***/\"}"
    )]
    #[case::in_a_url(r#"["https:\/\/t\/h?k=a%2Fsecret+of%C3%A9+16"]"#, r#"["https://t/h?k=***"]"#)]
    #[case::a_name(r#"{"a\/secret of\u00e9 16": 1}"#, r#"{"***": 1}"#)]
    #[case::a_number(r#"{"key":1234567890123456,"b":[1234567890123456]}"#, r#"{"key":"***","b":["***"]}"#)]
    #[case::another_number(
        "[12345678901234567, -1234567890123456]",
        "[12345678901234567, -1234567890123456]"
    )]
    #[case::an_escaped_backslash(r#"["\\u0061/secret of\u00e9 16"]"#, r#"["\\u0061/secret of\u00e9 16"]"#)]
    fn a_secret_is_blanked_in_json_however_it_is_escaped(#[case] text: &str, #[case] clean: &str) {
        assert_eq!(in_json(text, &secrets()), clean);
    }

    #[rstest]
    #[case::as_it_is("key=a/secret+of\u{e9}+16&b=1", "key=***&b=1")]
    #[case::encoded("b=1&key=a%2Fsecret+of%C3%A9+16", "b=1&key=***")]
    #[case::lower_case("key=a%2fsecret%20of%c3%a9+16&&b=", "key=***&&b=")]
    #[case::needlessly("key=%61%2f%73ecret%20of%c3%A9%201%36", "key=***")]
    #[case::within_one("key=100%&u=x%0Aa%2fsecret%20of%c3%a9%2016%Fz", "key=100%&u=x%0A***%Fz")]
    #[case::encoded_twice("u=h%3Fk%3Da%252Fsecret%2Bof%25C3%25A9%2B16", "u=h%3Fk%3D***")]
    #[case::over_two_fields("key=a/secret&of%C3%A9+16", "key=a/secret&of%C3%A9+16")]
    #[case::the_beginning("key=a%2Fsecret%20of%C3%A9%201", "key=a%2Fsecret%20of%C3%A9%201")]
    fn a_secret_is_blanked_in_fields_however_it_is_encoded(#[case] text: &str, #[case] clean: &str) {
        assert_eq!(in_fields(text, &secrets()), clean);
    }

    proptest! {
        #[test]
        fn a_text_without_a_secret_stays_as_it_is(text in "([\"\\\\%&=+u0-9a-f{}:, \u{e9}]|.){0,40}") {
            prop_assert_eq!(in_json(&text, &secrets()), text.as_str());
            prop_assert_eq!(in_fields(&text, &secrets()), text.as_str());
        }

        #[test]
        fn a_secret_within_any_text_is_blanked(
            before in "[\"\\\\%&=+u0-9a-f\u{e9}]{0,8}",
            after in "[\"\\\\%&=+u0-9a-f\u{e9}]{0,8}",
        ) {
            let text = format!("{before}1234567890123456{after}");
            let clean = in_fields(&text, &secrets());
            prop_assert!(clean.contains(BLANK) && clean.len() < text.len(), "{}", clean);
            let string = serde_json::to_string(&text).unwrap();
            let clean: String = serde_json::from_str(&in_json(&string, &secrets())).unwrap();
            prop_assert_eq!(clean, format!("{before}***{after}"));
            let _torn = in_json(&text, &secrets());
        }
    }
}
