//! Why a message is refused. One vocabulary for the HTTP reply, the metric label and the
//! `dead_letters.reason` column.

use std::fmt;

/// The class of a violation; [`as_str`](Self::as_str) is stable for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidReason {
    /// The bytes are not one JSON document in UTF-8.
    MalformedJson,
    /// A required field is absent.
    MissingField,
    /// A value has another JSON type than the field.
    WrongType,
    /// An object holds one key twice.
    DuplicateKey,
    /// A number cannot be kept exactly enough.
    NumberOutOfRange,
    /// A string that must say something is empty, or a batch.
    Empty,
    /// A string or a batch exceeds its limit.
    TooLong,
    /// U+0000, which a PostgreSQL text cannot hold.
    NulCharacter,
    /// Another control character in an identifier.
    ControlCharacter,
    /// White space at either end of an identifier.
    SurroundingWhiteSpace,
    /// A phone that is not E.164 once its separators are removed.
    PhoneNotE164,
    /// A time that is not RFC 3339.
    TimestampMalformed,
    /// A time before 2000 or more than a day ahead.
    TimestampOutOfRange,
}

impl InvalidReason {
    /// Every reason, for tests and for metrics that start at zero.
    pub const ALL: [Self; 13] = [
        Self::MalformedJson,
        Self::MissingField,
        Self::WrongType,
        Self::DuplicateKey,
        Self::NumberOutOfRange,
        Self::Empty,
        Self::TooLong,
        Self::NulCharacter,
        Self::ControlCharacter,
        Self::SurroundingWhiteSpace,
        Self::PhoneNotE164,
        Self::TimestampMalformed,
        Self::TimestampOutOfRange,
    ];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::DuplicateKey => "duplicate_key",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::NulCharacter => "nul_character",
            Self::ControlCharacter => "control_character",
            Self::SurroundingWhiteSpace => "surrounding_white_space",
            Self::PhoneNotE164 => "phone_not_e164",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
        }
    }
}

/// A violated rule: its class, the field and the rule in words.
///
/// Never holds the offending value: it may be a phone number or a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// The class.
    pub reason: InvalidReason,
    /// JSON pointer (RFC 6901) of the first bad field; empty for the document itself.
    pub pointer: String,
    /// What the rule says, such as `must have 1 to 128 characters`.
    pub rule: &'static str,
}

impl Invalid {
    pub(crate) fn new(reason: InvalidReason, pointer: impl Into<String>, rule: &'static str) -> Self {
        Self { reason, pointer: pointer.into(), rule }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "the body {}", self.rule),
            pointer => write!(f, "{pointer} {}", self.rule),
        }
    }
}
