//! The second half of a client's identity: a phone, or for those who have none an id in a scheme, `tg:6001`.
//!
//! A phone begins with `+`, a scheme with a letter: the two never meet, and a client with a phone has the id that
//! it always had. Ids are kept byte for byte; what another spelling of an id is, only its platform knows.

use std::fmt;

use crate::{
    edge,
    ids::{Phone, Violation, identifier},
    reason::InvalidReason,
};

macro_rules! schemes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// Whose id it is: a closed list, because a second name of one platform would make a second client of
        /// each of its people. A name never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scheme {
            $($(#[$doc])* $name),*
        }

        impl Scheme {
            /// Every scheme, in the order of the contract.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// The name, which begins with a letter: a-z, digits and `-`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }

            fn named(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

schemes! {
    /// WhatsApp's business-scoped user id (BSUID, `CC.digits`): another one for each business.
    Wa = "wa",
    /// WhatsApp's hidden id (LID), the digits before `@lid`.
    WaLid = "wa-lid",
    /// Telegram: the user's id.
    Tg = "tg",
    /// Viber: the user's id, another one for each bot.
    Viber = "viber",
    /// Instagram: the chat's or the user's id.
    Instagram = "instagram",
    /// Facebook Messenger: the page-scoped user id.
    Messenger = "messenger",
    /// VK: the user's id.
    Vk = "vk",
    /// Avito: the chat's id.
    Avito = "avito",
    /// A sender of SMS without a number: letters (`MyBank`) or a short code.
    Sms = "sms",
    /// Zendesk Sunshine Conversations: the user's id.
    Sunshine = "sunshine",
    /// Chatwoot: the contact's id.
    Chatwoot = "chatwoot",
    /// Teletype App: the dialog's id.
    Teletype = "teletype",
    /// The source's own id of a person, where none of the others is meant.
    Id = "id",
    /// A user name, to show: it changes hands, so it is an alias only, and never makes two clients one person.
    Username = "username",
}

impl Scheme {
    /// Whether its ids tell people apart for good.
    pub const fn is_identity(self) -> bool {
        !matches!(self, Self::Username)
    }
}

/// What a client is reached by, within a source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Phone(Phone),
    Id(AddressId),
}

/// `scheme:id`; the id has 1 to 128 characters, under the rules of an
/// [`ExternalClientId`](crate::ExternalClientId).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressId {
    scheme: Scheme,
    /// With its scheme.
    text: String,
}

impl AddressId {
    /// The limit of the id behind the colon, in characters.
    pub const CHARS_MAX: usize = 128;

    /// Splits at the first colon and checks both halves; the value itself is not changed.
    ///
    /// # Errors
    /// The scheme is none of the list, or the violated rule of the id; never the value.
    pub fn parse(value: impl Into<String>) -> Result<Self, Violation> {
        const RULE: Violation =
            (InvalidReason::AddressMalformed, "must be a scheme of the contract, a colon and an id");
        let text = value.into();
        let (scheme, id) = text.split_once(':').ok_or(RULE)?;
        let scheme = Scheme::named(scheme).ok_or(RULE)?;
        identifier(id, Self::CHARS_MAX, "must have 1 to 128 characters behind the colon")?;
        Ok(Self { scheme, text })
    }

    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl Address {
    /// Reads a phone in any spelling, or `scheme:id`: no phone holds a colon.
    ///
    /// # Errors
    /// The violated rule; never the value.
    pub fn parse(value: &str) -> Result<Self, Violation> {
        match value.contains(':') {
            true => AddressId::parse(value).map(Self::Id),
            false => Phone::parse(value).map(Self::Phone),
        }
    }

    /// Reads the `scheme:id` of a client.
    ///
    /// # Errors
    /// As [`AddressId::parse`], and if the scheme is one whose ids change hands.
    pub(crate) fn parse_identity(value: &str) -> Result<Self, Violation> {
        let id = AddressId::parse(value)?;
        match id.scheme.is_identity() {
            true => Ok(Self::Id(id)),
            false => {
                Err((InvalidReason::AddressMalformed, "must not be a user name, which is an alias at most"))
            }
        }
    }

    /// Reads an alias. What only the edge refuses of an address counts here everywhere.
    pub(crate) fn parse_alias(value: &str) -> Result<Self, Violation> {
        edge::address(value)?;
        Self::parse(value)
    }

    /// The phone, of those who have one.
    pub const fn phone(&self) -> Option<&Phone> {
        match self {
            Self::Phone(phone) => Some(phone),
            Self::Id(_) => None,
        }
    }

    /// The normalised phone, or `scheme:id`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.as_str(),
            Self::Id(id) => &id.text,
        }
    }
}

impl From<Phone> for Address {
    fn from(phone: Phone) -> Self {
        Self::Phone(phone)
    }
}

/// Masked: an id is personal data as a phone is.
impl fmt::Debug for AddressId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressId({}:***)", self.scheme.as_str())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(phone) => phone.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn no_scheme_can_be_taken_for_a_phone_or_for_another_scheme() {
        for scheme in Scheme::ALL {
            let name = scheme.as_str();
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
            assert_eq!(Scheme::named(name), Some(scheme));
        }
    }

    #[rstest]
    #[case::bsuid("wa:GB.9000000001", Scheme::Wa)]
    #[case::colons_in_the_id("tg:a:b", Scheme::Tg)]
    #[case::base64("viber:01234567890A=", Scheme::Viber)]
    #[case::plus("sms:+x", Scheme::Sms)]
    #[case::white_space_inside("sms:My Bank", Scheme::Sms)]
    fn an_id_is_kept_byte_for_byte(#[case] text: &str, #[case] scheme: Scheme) {
        let Address::Id(id) = Address::parse(text).unwrap() else { panic!("{text}") };
        assert_eq!((id.scheme(), Address::Id(id).as_str()), (scheme, text));
    }

    #[rstest]
    #[case::upper_case("TG:1", InvalidReason::AddressMalformed)]
    #[case::space_before(" tg:1", InvalidReason::AddressMalformed)]
    #[case::unknown("icq:1", InvalidReason::AddressMalformed)]
    #[case::no_scheme(":1", InvalidReason::AddressMalformed)]
    #[case::no_id("tg:", InvalidReason::Empty)]
    #[case::space_first("tg: 1", InvalidReason::SurroundingWhiteSpace)]
    #[case::space_last("tg:1\u{a0}", InvalidReason::SurroundingWhiteSpace)]
    #[case::control("tg:1\t2", InvalidReason::ControlCharacter)]
    #[case::nul("tg:1\0", InvalidReason::NulCharacter)]
    #[case::neither("12025550143", InvalidReason::PhoneNotE164)]
    fn what_is_no_address_is_refused(#[case] text: &str, #[case] reason: InvalidReason) {
        assert_eq!(Address::parse(text).unwrap_err().0, reason);
    }

    #[test]
    fn the_limit_counts_the_characters_of_the_id() {
        assert!(AddressId::parse(format!("instagram:{}", "я".repeat(128))).is_ok());
        let (reason, _) = AddressId::parse(format!("tg:{}", "я".repeat(129))).unwrap_err();
        assert_eq!(reason, InvalidReason::TooLong);
    }

    #[test]
    fn a_phone_without_a_scheme_is_no_identity_here_and_a_user_name_none_at_all() {
        assert!(Address::parse_identity("tg:1").is_ok());
        for text in ["+70000000000", "username:anna", "1"] {
            assert_eq!(Address::parse_identity(text).unwrap_err().0, InvalidReason::AddressMalformed);
        }
    }

    #[rstest]
    #[case::phone("+7 (000) 000-00-00", Some("+70000000000"))]
    #[case::user_name("username:anna", Some("username:anna"))]
    #[case::id("wa:GB.1", Some("wa:GB.1"))]
    #[case::trunk_zero("+44 (0)20 7946 0958", None)]
    #[case::invisible("username:a\u{200b}", None)]
    #[case::nothing("", None)]
    fn an_alias_is_a_phone_or_an_id(#[case] text: &str, #[case] read: Option<&str>) {
        assert_eq!(Address::parse_alias(text).ok().as_ref().map(Address::as_str), read);
    }

    #[test]
    fn debug_output_shows_the_scheme_only() {
        let shown =
            format!("{:?} {:?}", Address::parse("tg:6001").unwrap(), Address::parse("+70000000000").unwrap());
        assert_eq!(shown, "AddressId(tg:***) Phone(***)");
    }
}
