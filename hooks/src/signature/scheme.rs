//! What a description may say of how requests are signed. Whether it fits together, `method` says.

use serde::Deserialize;

use crate::{pointer::Pointer, template::Template};

/// How requests are signed, as a description writes it. Which of the fields have a meaning depends on the scheme.
///
/// ```toml
/// [signature]
/// scheme = "hmac-sha256"
/// header = "x-hub-signature-256"
/// prefix = "sha256="
/// encoding = "hex"
/// message = "{body}"
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub scheme: Scheme,
    /// The header that holds it.
    pub header: Option<String>,
    /// What stands before it in the header.
    #[serde(default)]
    pub prefix: String,
    /// What stands between several of them.
    pub separator: Option<char>,
    pub encoding: Option<Encoding>,
    /// How the secret is written.
    #[serde(default)]
    pub key: Encoding,
    /// What is signed.
    pub message: Option<Template>,
    pub timestamp: Option<SignedAt>,
    /// Where a shared secret comes along.
    pub at: Option<SecretPlace>,
    /// Of a token: the claim `url_hash` has to be the SHA-256 of the URL.
    #[serde(default)]
    pub url_hash: bool,
    /// Of a token: how old it may be.
    #[serde(default = "five_minutes")]
    pub tolerance_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// An HMAC over `message`.
    HmacSha1,
    HmacSha256,
    HmacSha512,
    /// Ed25519 over `message`; the secret is the provider's public key in base64.
    Ed25519,
    /// A JSON Web Token of the kind HS256, whose claim `payload_hash` is the SHA-256 of the body.
    JwtHs256,
    /// The secret itself comes along, in the place `at`.
    Secret,
    /// Nothing says from whom a request is: whoever knows the URL may write.
    None,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Text,
    Hex,
    Base64,
}

/// When the request was signed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAt {
    pub header: String,
    #[serde(default)]
    pub unit: Unit,
    /// How old it may be.
    #[serde(default = "five_minutes")]
    pub tolerance_seconds: u64,
}

const fn five_minutes() -> u64 {
    300
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    S,
    Ms,
}

/// Where a secret comes along.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SecretPlace {
    /// `header:NAME`.
    Header(String),
    /// `bearer`: `authorization: Bearer …`.
    Bearer,
    /// `basic`: `authorization: Basic …`; the secret is `user:password`.
    Basic,
    /// `path`: the last segment of the URL's path, behind the hook's name.
    Path,
    /// `query:NAME`.
    Query(String),
    /// `body:POINTER`.
    Body(Pointer),
}

impl TryFrom<String> for SecretPlace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once(':') {
            None if text == "bearer" => Ok(Self::Bearer),
            None if text == "basic" => Ok(Self::Basic),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) => Ok(Self::Header(name.to_owned())),
            Some(("query", name)) => Ok(Self::Query(name.to_owned())),
            Some(("body", pointer)) => pointer.parse().map(Self::Body),
            _ => {
                Err(format!("{text:?} must be bearer, basic, path, header:NAME, query:NAME or body:POINTER"))
            }
        }
    }
}
