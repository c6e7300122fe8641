//! Why a message is refused. One vocabulary for the HTTP reply, the metric label and the
//! `dead_letters.reason` column.

use std::fmt;

/// The class of a violation; [`as_str`](Self::as_str) is stable forever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidReason {
    /// The bytes are not one JSON document in UTF-8.
    MalformedJson,
    MissingField,
    /// A value has another JSON type than the field.
    WrongType,
    /// An object holds one key twice.
    DuplicateKey,
    /// A number of a version 1 record that a double cannot hold.
    NumberOutOfRange,
    /// Arrays and objects are nested beyond the bound.
    TooDeep,
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
    /// One half of a surrogate pair, which is no character.
    LoneSurrogate,
    /// A character in an identifier that nobody sees.
    InvisibleCharacter,
    /// A phone that is not E.164 once its separators are removed.
    PhoneNotE164,
    /// A phone with a zero in brackets, which may or may not be part of the number.
    PhoneTrunkZero,
    /// A `client_address` that is not an id in a scheme of the contract.
    AddressMalformed,
    /// A phone and an address at once: a client has one of them.
    TwoAddresses,
    /// A time that is not RFC 3339.
    TimestampMalformed,
    /// A time of a version 1 record before 2000 or more than a day ahead.
    TimestampOutOfRange,
}

impl InvalidReason {
    /// Every reason why a producer's message is refused.
    pub const ALL: [Self; 17] = [
        Self::MalformedJson,
        Self::MissingField,
        Self::WrongType,
        Self::DuplicateKey,
        Self::TooDeep,
        Self::Empty,
        Self::TooLong,
        Self::NulCharacter,
        Self::ControlCharacter,
        Self::SurroundingWhiteSpace,
        Self::LoneSurrogate,
        Self::InvisibleCharacter,
        Self::PhoneNotE164,
        Self::PhoneTrunkZero,
        Self::AddressMalformed,
        Self::TwoAddresses,
        Self::TimestampMalformed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::DuplicateKey => "duplicate_key",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::TooDeep => "too_deep",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::NulCharacter => "nul_character",
            Self::ControlCharacter => "control_character",
            Self::SurroundingWhiteSpace => "surrounding_white_space",
            Self::LoneSurrogate => "lone_surrogate",
            Self::InvisibleCharacter => "invisible_character",
            Self::PhoneNotE164 => "phone_not_e164",
            Self::PhoneTrunkZero => "phone_trunk_zero",
            Self::AddressMalformed => "address_malformed",
            Self::TwoAddresses => "two_addresses",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
        }
    }
}

/// What of a message is kept otherwise than it came, because it is not worth losing the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Warning {
    /// U+FFFD stands in the text for each half of a surrogate pair.
    HalfCharacter,
    /// The message is kept without its `sent_at`.
    SentAtOutOfRange,
    /// The message is kept without those of its aliases that are no address.
    AliasLeftOut,
}

impl Warning {
    /// For metrics that start at zero, and for the contract.
    pub const ALL: [Self; 3] = [Self::HalfCharacter, Self::SentAtOutOfRange, Self::AliasLeftOut];

    /// The stable code, of the reason for which a worthier field is refused.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HalfCharacter => InvalidReason::LoneSurrogate.as_str(),
            Self::SentAtOutOfRange => InvalidReason::TimestampOutOfRange.as_str(),
            Self::AliasLeftOut => InvalidReason::AddressMalformed.as_str(),
        }
    }

    pub const fn pointer(self) -> &'static str {
        match self {
            Self::HalfCharacter => "/text",
            Self::SentAtOutOfRange => "/sent_at",
            Self::AliasLeftOut => "/aliases",
        }
    }

    pub const fn detail(self) -> &'static str {
        match self {
            Self::HalfCharacter => "one half of a surrogate pair is kept as U+FFFD",
            Self::SentAtOutOfRange => "is left out: must lie between 2000 and a day from now",
            Self::AliasLeftOut => {
                "an alias is left out: must be a phone, or a scheme of the contract, a colon and an id"
            }
        }
    }
}

/// A violated rule: its class, the field and the rule in words.
///
/// Never holds the offending value: it may be a phone number or a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
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
