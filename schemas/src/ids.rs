//! The types a message is made of. Each has a private field and one `parse`, so that a value of
//! the type is a valid value.

use std::{fmt, sync::Arc};

use crate::reason::InvalidReason;

/// A violated rule of one value: its class and the rule in words.
pub type Violation = (InvalidReason, &'static str);

/// Declares a newtype of a kind of string, with `parse` and `as_str`.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident($text:ty), $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// Checks the rules of this type; the value itself is not changed.
            ///
            /// # Errors
            /// The class of the violated rule and the rule in words.
            pub fn parse(value: impl Into<$text>) -> Result<Self, Violation> {
                let value = value.into();
                let check: fn(&str) -> Result<(), Violation> = $check;
                check(&value)?;
                Ok(Self(value))
            }

            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text_type!(
    /// The outside system's account (the *source*): 1 to 128 characters, no control characters,
    /// no white space at either end, otherwise kept as it is.
    ExternalClientId(String),
    |value| identifier(value, ExternalClientId::CHARS_MAX, "must have 1 to 128 characters")
);

text_type!(
    /// The outside system's id of a message: 1 to 256 characters under the rules of
    /// [`ExternalClientId`]. Unique per client.
    ExternalMessageId(String),
    |value| identifier(value, ExternalMessageId::CHARS_MAX, "must have 1 to 256 characters")
);

text_type!(
    /// What a client wrote: at most 16,384 characters, possibly none (a picture without words);
    /// everything but U+0000.
    MessageText(String),
    |value| {
        no_nul(value)?;
        if value.len() > MessageText::CHARS_MAX && value.chars().count() > MessageText::CHARS_MAX {
            return Err((InvalidReason::TooLong, "must have at most 16384 characters"));
        }
        Ok(())
    }
);

text_type!(
    /// The id of one HTTP request: 1 to 128 of `A-Z a-z 0-9 . _ : -`, so that it can stand in a
    /// log line, a header and a row as it is. One text, however often it is cloned on the request's way.
    RequestId(Arc<str>),
    |value| {
        if value.is_empty() || value.len() > 128 {
            return Err((InvalidReason::TooLong, "must have 1 to 128 characters"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        match value.bytes().all(allowed) {
            true => Ok(()),
            false => Err((InvalidReason::ControlCharacter, "may hold A-Z a-z 0-9 . _ : - only")),
        }
    }
);

text_type!(
    /// W3C trace context, version 00: `00-{32 hex}-{16 hex}-{2 hex}`, neither id all zero.
    TraceParent(String),
    |value| {
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|b| b != b'0');
        let parts: Vec<&str> = value.split('-').take(5).collect();
        match parts.as_slice() {
            ["00", trace, span, flags] if is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2) => Ok(()),
            _ => Err((InvalidReason::WrongType, "must be a W3C traceparent")),
        }
    }
);

macro_rules! chars_max {
    ($($name:ident = $limit:literal),*) => {$(
        impl $name {
            /// The limit, in characters (Unicode scalar values).
            pub const CHARS_MAX: usize = $limit;
        }
    )*};
}

chars_max!(ExternalClientId = 128, ExternalMessageId = 256, MessageText = 16_384);

/// A phone number in E.164 syntax: `+`, then 7 to 15 ASCII digits, the first not zero.
///
/// Only the syntax: whether a carrier assigned it is not asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(String);

impl Phone {
    /// Removes the separators (space `-` `.` `(` `)`) and checks what is left.
    ///
    /// # Errors
    /// The violated rule; never the number.
    pub fn parse(value: &str) -> Result<Self, Violation> {
        const RULE: Violation =
            (InvalidReason::PhoneNotE164, "must be + and 7 to 15 digits, without a leading zero");
        no_nul(value)?;
        let digits_max = 15;
        let mut normalised = String::with_capacity(digits_max + 1);
        for character in value.chars() {
            match character {
                ' ' | '-' | '.' | '(' | ')' => {}
                '+' if normalised.is_empty() => normalised.push('+'),
                '0' if normalised.len() == 1 => return Err(RULE),
                '0'..='9' if (1..=digits_max).contains(&normalised.len()) => normalised.push(character),
                _ => return Err(RULE),
            }
        }
        if normalised.len() < 8 {
            return Err(RULE);
        }
        Ok(Self(normalised))
    }

    /// The normalised number, such as `+70000000000`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Masked: a phone is personal data and must not reach a log by `{:?}`.
impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(***)")
    }
}

/// Only the length: what a person wrote must not reach a log by `{:?}`.
impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageText({} bytes)", self.0.len())
    }
}

macro_rules! debug_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

debug_as_text!(ExternalClientId, ExternalMessageId, RequestId, TraceParent);

/// The rules of an id that somebody else gave.
pub(crate) fn identifier(value: &str, chars_max: usize, length_rule: &'static str) -> Result<(), Violation> {
    if value.is_empty() {
        return Err((InvalidReason::Empty, length_rule));
    }
    // Nearly all ids are visible ASCII, in which there is nothing to be found.
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        no_nul(value)?;
        if value.chars().any(char::is_control) {
            return Err((InvalidReason::ControlCharacter, "must not hold control characters"));
        }
        if value.starts_with(char::is_whitespace) || value.ends_with(char::is_whitespace) {
            return Err((InvalidReason::SurroundingWhiteSpace, "must not begin or end with white space"));
        }
    }
    if value.len() > chars_max && value.chars().count() > chars_max {
        return Err((InvalidReason::TooLong, length_rule));
    }
    Ok(())
}

/// PostgreSQL text cannot hold U+0000: let through, it would be a poison pill at the processor.
pub(crate) fn no_nul(value: &str) -> Result<(), Violation> {
    match value.as_bytes().contains(&0) {
        true => Err((InvalidReason::NulCharacter, "must not hold U+0000")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::spaces("+7 (000) 000-00-00", "+70000000000")]
    #[case::dots("+1.202.555.0143", "+12025550143")]
    #[case::shortest("+1234567", "+1234567")]
    #[case::longest("+123456789012345", "+123456789012345")]
    #[case::separator_first(" +1234567 ", "+1234567")]
    fn a_phone_is_normalised_to_plus_and_digits(#[case] spelled: &str, #[case] normalised: &str) {
        assert_eq!(Phone::parse(spelled).unwrap().as_str(), normalised);
    }

    #[rstest]
    #[case::no_plus("1234567")]
    #[case::leading_zero("+01234567")]
    #[case::too_short("+123456")]
    #[case::too_long("+1234567890123456")]
    #[case::two_plus("++1234567")]
    #[case::plus_inside("+123+4567")]
    #[case::arabic_digits("+7\u{660}\u{660}\u{660}\u{660}\u{660}\u{660}\u{660}")]
    #[case::right_to_left_mark("\u{200e}+70000000000")]
    #[case::empty("")]
    fn a_phone_outside_e164_is_refused(#[case] spelled: &str) {
        assert_eq!(Phone::parse(spelled).unwrap_err().0, InvalidReason::PhoneNotE164);
    }

    #[test]
    fn a_limit_counts_characters_not_bytes() {
        assert!(ExternalClientId::parse("я".repeat(128)).is_ok());
        assert_eq!(ExternalClientId::parse("я".repeat(129)).unwrap_err().0, InvalidReason::TooLong);
        assert!(MessageText::parse("я".repeat(MessageText::CHARS_MAX)).is_ok());
        assert!(MessageText::parse("я".repeat(MessageText::CHARS_MAX + 1)).is_err());
    }

    #[test]
    fn debug_output_hides_phone_and_text() {
        let phone = Phone::parse("+70000000000").unwrap();
        let text = MessageText::parse("secret words").unwrap();
        let shown = format!("{phone:?} {text:?}");
        assert!(!shown.contains("7000") && !shown.contains("secret"), "{shown}");
    }

    #[rstest]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true)]
    #[case("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false)]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false)]
    #[case("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false)]
    #[case("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false)]
    fn a_traceparent_is_checked_to_the_letter(#[case] value: &str, #[case] valid: bool) {
        assert_eq!(TraceParent::parse(value).is_ok(), valid);
    }
}
