//! A hook as a person writes it, in TOML: what a provider sends, and what it wants to be answered. docs/hooks.md shows
//! how one is written.

use serde::Deserialize;

use crate::{
    condition::Condition, decode::BodyKind, field::Field, pointer::Pointer, setup::Verify,
    signature::Signature, time::Time,
};

/// What a provider sends, and what it wants to be answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The provider's name, for people.
    pub title: String,
    /// Where the provider describes it.
    pub documentation: Option<String>,
    /// Whether the signature was held against a vector that this description's writer did not make.
    #[serde(default)]
    pub signature_verified: bool,
    pub body: BodyKind,
    /// Fields of a form that hold JSON: pointers go on into it.
    #[serde(default)]
    pub json_fields: Vec<String>,
    /// Where each message lies. Without it, there is one in each request.
    pub items: Option<Pointer>,
    /// What is no message: it is answered as kept, and counted.
    #[serde(default)]
    pub skip: Vec<Skip>,
    /// The `external_client_id`.
    pub source: Field,
    /// The client's phone.
    pub phone: Option<Field>,
    /// Other addresses of the client, in the order of their worth.
    #[serde(default)]
    pub address: Vec<AddressField>,
    /// Which of them is the client's identity.
    #[serde(default)]
    pub identity: Identity,
    /// What else the client is called; never the identity.
    #[serde(default)]
    pub alias: Vec<AddressField>,
    /// The `external_message_id`.
    pub id: Field,
    pub text: Field,
    /// When it was sent.
    pub time: Option<Time>,
    pub signature: Signature,
    /// How the provider looks whether the URL is ours.
    pub verify: Option<Verify>,
    #[serde(default)]
    pub answer: Answer,
}

/// What is no message.
///
/// ```toml
/// [[skip]]
/// name = "echo"
/// when = { at = "/payload/fromMe", is = ["true"] }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// For the metric.
    pub name: String,
    pub when: Condition,
}

/// An address that is no phone.
///
/// ```toml
/// [[address]]
/// scheme = "tg"
/// id = { from = ["/message/from/id"] }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressField {
    /// What stands before the colon.
    pub scheme: String,
    pub id: Field,
}

/// Which address of a client makes the key. For a source in use it must not change: the client would be another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The phone, where there is one.
    #[default]
    PhoneFirst,
    /// The first other address, where there is one: it stays when the phone changes or is hidden.
    ProviderIdFirst,
}

impl Identity {
    /// As a description writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PhoneFirst => "phone_first",
            Self::ProviderIdFirst => "provider_id_first",
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// The status when all of it is kept.
    pub status: u16,
    pub content_type: Option<String>,
    /// As it is: some providers send it on to the customer.
    pub body: String,
    /// The status when it is not known whether all of it is kept, and when the process has too much to do: one on
    /// which the provider tries again.
    pub try_again: u16,
    /// The status when the producer sends more than its rate. 429 is final for some providers.
    pub too_many: u16,
    /// After how many milliseconds it is not known whether all of it is kept; below the provider's own patience.
    pub deadline_ms: Option<u64>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            content_type: None,
            body: String::new(),
            try_again: 503,
            too_many: 503,
            deadline_ms: None,
        }
    }
}

impl Answer {
    /// # Errors
    /// A status that does not say what it has to say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_error = |status: u16| (400..600).contains(&status);
        if !(200..300).contains(&self.status) || !is_error(self.try_again) || !is_error(self.too_many) {
            return Err("answer: status is 200 to 299, try_again and too_many are 400 to 599".to_owned());
        }
        match self.deadline_ms {
            Some(0) => Err("answer: deadline_ms must be 1 at least".to_owned()),
            _ => Ok(()),
        }
    }
}
