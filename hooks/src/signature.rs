//! From whom a request is: the ways in which providers sign, as data. What the head can tell is looked at before a
//! body is there ([`Signer::head`]); a signature over the body afterwards ([`Signer::body`]).
//!
//! Several secrets are valid together: that is a rotation. Comparisons take the same time whatever is compared.

use std::fmt;

use ring::{
    hmac,
    signature::{ED25519, UnparsedPublicKey},
};
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    decode::{BodyKind, fields},
    jwt,
    pointer::Pointer,
    request::Request,
    template::{Parts, Template, from_base64, from_hex},
    walk::{Found, Places, Slot, WORD_BYTES_MAX},
};

/// Signatures that are looked at of one request, at most.
const SIGNATURES_MAX: usize = 8;
/// How far ahead a provider's clock may be, in seconds.
const AHEAD_MAX: u64 = 300;
/// A rotation needs two.
const SECRETS_MAX: usize = 4;
/// Of Ed25519 (RFC 8032).
const PUBLIC_KEY_BYTES: usize = 32;
/// Shorter ones can be guessed.
pub const SECRET_BYTES_MIN: usize = 16;

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

/// A signature whose fields fit its scheme.
#[derive(Debug, Clone)]
enum Method {
    Hmac { digest: Digest, place: Place },
    Ed25519 { place: Place },
    Jwt { header: String, prefix: String, covered: jwt::Covered },
    Secret { at: SecretPlace },
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
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

/// Where a signature stands, and over what it is.
#[derive(Debug, Clone)]
struct Place {
    header: String,
    prefix: String,
    separator: Option<char>,
    encoding: Encoding,
    message: Template,
    timestamp: Option<SignedAt>,
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

/// Why it is not known from whom a request is. For the metric: the sender gets one answer for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Neither a signature nor a secret.
    NoCredential,
    /// A header that cannot be read.
    Malformed,
    /// It is signed too long ago, or in the future.
    Timestamp,
    /// No secret of the hook has made the signature, or is the one that came along.
    Signature,
}

impl Refused {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Malformed => "malformed",
            Self::Timestamp => "timestamp",
            Self::Signature => "signature",
        }
    }
}

/// What the head of a request tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It is from whom it says.
    Proven,
    /// The body has to say it.
    NeedsBody,
}

/// Looks at requests with the secrets of one hook.
pub struct Signer {
    method: Method,
    kind: BodyKind,
    keys: Vec<Vec<u8>>,
    /// For a secret in the body.
    in_body: Option<(Places, Slot)>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Signer {
    /// Looks at a description without secrets.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(signature: &Signature, kind: BodyKind) -> Result<(), String> {
        Method::of(signature, kind).map(drop).map_err(|problem| format!("signature: {problem}"))
    }

    /// # Errors
    /// A secret or the description breaks a rule; no error holds a secret.
    pub(crate) fn new(signature: &Signature, kind: BodyKind, secrets: &[String]) -> Result<Self, String> {
        let method = Method::of(signature, kind).map_err(|problem| format!("signature: {problem}"))?;
        match (&method, secrets.len()) {
            (Method::None, 0) => {}
            (Method::None, _) => return Err("there is nothing to sign: secrets must be empty".to_owned()),
            (_, 1..=SECRETS_MAX) => {}
            (_, _) => return Err(format!("there must be 1 to {SECRETS_MAX} secrets")),
        }
        let keys: Result<Vec<_>, String> =
            secrets.iter().map(|secret| method.key(signature.key, secret)).collect();
        let in_body = match &method {
            Method::Secret { at: SecretPlace::Body(pointer) } => {
                let mut places = Places::new(None);
                let slot = places.slot(pointer);
                Some((places, slot))
            }
            _ => None,
        };
        Ok(Self { method, kind, keys: keys?, in_body })
    }

    /// Whether the URL is signed: then it has to be known as the provider knows it.
    pub fn signs_url(&self) -> bool {
        match &self.method {
            Method::Hmac { place, .. } | Method::Ed25519 { place } => place.message.names_url(),
            Method::Jwt { covered, .. } => covered.url,
            Method::Secret { .. } | Method::None => false,
        }
    }

    /// What the head says.
    ///
    /// # Errors
    /// [`Refused`], whatever the body is.
    pub fn head(&self, request: &Request<'_>) -> Result<Head, Refused> {
        match &self.method {
            Method::None => Ok(Head::Proven),
            Method::Hmac { place, .. } | Method::Ed25519 { place } => {
                request.headers.get(&place.header).ok_or(Refused::NoCredential)?;
                place.timestamp(request)?;
                Ok(Head::NeedsBody)
            }
            Method::Jwt { header, .. } => {
                request.headers.get(header).ok_or(Refused::NoCredential)?;
                Ok(Head::NeedsBody)
            }
            Method::Secret { at: SecretPlace::Body(_) } => Ok(Head::NeedsBody),
            Method::Secret { at } => {
                let secret = at.in_head(request).ok_or(Refused::NoCredential)?;
                if self.is_one(&secret) { Ok(Head::Proven) } else { Err(Refused::Signature) }
            }
        }
    }

    /// Whether the body proves what the head could not tell.
    ///
    /// # Errors
    /// [`Refused`]: it does not.
    pub fn body(&self, request: &Request<'_>, body: &[u8]) -> Result<(), Refused> {
        let is_proven = match &self.method {
            Method::Hmac { digest, place } => {
                let (signatures, message) = place.signed(request, body)?;
                let made: Vec<Vec<u8>> = self.keys.iter().map(|key| digest.of(key, &message)).collect();
                let pairs =
                    signatures.iter().flat_map(|signature| made.iter().map(move |made| (signature, made)));
                let equal = |any, (signature, made): (&Vec<u8>, &Vec<u8>)| any | made.ct_eq(signature);
                pairs.fold(Choice::from(0), equal).into()
            }
            Method::Ed25519 { place } => {
                let (signatures, message) = place.signed(request, body)?;
                let by = |key: &Vec<u8>, signature: &Vec<u8>| {
                    UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).is_ok()
                };
                signatures.iter().any(|signature| self.keys.iter().any(|key| by(key, signature)))
            }
            Method::Jwt { header, prefix, covered } => {
                let value = request.headers.get(header).ok_or(Refused::NoCredential)?;
                let value = value.to_str().map_err(|_| Refused::Malformed)?;
                let token = value.strip_prefix(prefix.as_str()).ok_or(Refused::Malformed)?.trim();
                let parts = Parts { headers: request.headers, url: request.url, timestamp: "", body };
                self.keys.iter().any(|key| jwt::is_by(token, key, *covered, parts, request.now))
            }
            Method::Secret { at: SecretPlace::Body(_) } => {
                self.secret_in(body).is_some_and(|it| self.is_one(&it))
            }
            Method::Secret { .. } | Method::None => return self.head(request).map(drop),
        };
        if is_proven { Ok(()) } else { Err(Refused::Signature) }
    }

    /// A document without the secrets that came along in it.
    pub(crate) fn without_secrets(&self, document: String) -> String {
        let stands_in_it =
            matches!(&self.method, Method::Secret { at: SecretPlace::Body(_) | SecretPlace::Query(_) });
        if !stands_in_it {
            return document;
        }
        let texts = self.keys.iter().filter_map(|key| std::str::from_utf8(key).ok());
        texts.fold(document, |document, secret| document.replace(secret, "***"))
    }

    fn is_one(&self, secret: &str) -> bool {
        let any = |any, key: &Vec<u8>| any | key.as_slice().ct_eq(secret.as_bytes());
        self.keys.iter().fold(Choice::from(0), any).into()
    }

    fn secret_in(&self, body: &[u8]) -> Option<String> {
        let (places, slot) = self.in_body.as_ref()?;
        let decoded;
        let found = match self.kind {
            BodyKind::Json => Found::in_json(places, std::str::from_utf8(body).ok()?).ok()?,
            BodyKind::Form | BodyKind::Query => {
                decoded = fields(body).ok()?;
                Found::in_fields(places, &decoded, &[]).ok()?
            }
        };
        let item = *found.items().first()?;
        found.value(*slot, 0, item)?.text(WORD_BYTES_MAX).map(std::borrow::Cow::into_owned)
    }
}

impl Method {
    fn of(signature: &Signature, kind: BodyKind) -> Result<Self, &'static str> {
        let hmac = |digest| Ok(Self::Hmac { digest, place: Place::of(signature, kind)? });
        match signature.scheme {
            Scheme::HmacSha1 => hmac(Digest::Sha1),
            Scheme::HmacSha256 => hmac(Digest::Sha256),
            Scheme::HmacSha512 => hmac(Digest::Sha512),
            Scheme::Ed25519 => Ok(Self::Ed25519 { place: Place::of(signature, kind)? }),
            Scheme::JwtHs256 if kind == BodyKind::Query && !signature.url_hash => {
                Err("url_hash must be true: else nothing of a query is signed")
            }
            Scheme::JwtHs256 if signature.message.is_some() => {
                Err("a token has no message: its claims say what is signed")
            }
            Scheme::JwtHs256 => Ok(Self::Jwt {
                header: signature.header.clone().ok_or("there must be a header")?,
                prefix: signature.prefix.clone(),
                covered: jwt::Covered { url: signature.url_hash, tolerance: signature.tolerance_seconds },
            }),
            Scheme::Secret => match signature.at.clone().ok_or("at must say where the secret comes along")? {
                SecretPlace::Body(pointer) if pointer.stars() > 0 => {
                    Err("a secret in the body has one place")
                }
                at => Ok(Self::Secret { at }),
            },
            Scheme::None => Ok(Self::None),
        }
    }

    fn key(&self, form: Encoding, secret: &str) -> Result<Vec<u8>, String> {
        let form = if matches!(self, Self::Ed25519 { .. }) { Encoding::Base64 } else { form };
        let key = form.decode(secret).ok_or("a secret is not written as key says")?;
        match self {
            Self::Ed25519 { .. } if key.len() != PUBLIC_KEY_BYTES => {
                Err(format!("a public key has {PUBLIC_KEY_BYTES} bytes in base64"))
            }
            _ if key.len() < SECRET_BYTES_MIN => {
                Err(format!("a secret must have {SECRET_BYTES_MIN} bytes at least"))
            }
            _ => Ok(key),
        }
    }
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Hex => from_hex(text),
            Self::Base64 => from_base64(text),
        }
    }
}

impl Digest {
    fn of(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }
}

impl Place {
    fn of(signature: &Signature, kind: BodyKind) -> Result<Self, &'static str> {
        let message = signature.message.clone().ok_or("message must say what is signed")?;
        let covers = match kind {
            BodyKind::Json => message.covers_bytes(),
            BodyKind::Form => message.covers_body(),
            BodyKind::Query => message.covers_url(),
        };
        let encoding = signature.encoding.filter(|encoding| *encoding != Encoding::Text);
        if !covers {
            return Err(
                "message must hold {body} or {body-sha256}, or for a form {form}, or for a query {url}",
            );
        }
        match (&signature.timestamp, message.covers_timestamp()) {
            (None, true) => {
                return Err("message holds {timestamp}: timestamp = { header = \"...\" } must say which");
            }
            (Some(_), false) => return Err("message must hold {timestamp}: else the time is not signed"),
            _ => {}
        }
        Ok(Self {
            header: signature.header.clone().ok_or("there must be a header")?,
            prefix: signature.prefix.clone(),
            separator: signature.separator,
            encoding: encoding.ok_or("encoding must be hex or base64")?,
            message,
            timestamp: signature.timestamp.clone(),
        })
    }

    /// The signatures that the request carries, and what they have to be of. Without one that can be read, nothing is
    /// made of the body.
    fn signed(&self, request: &Request<'_>, body: &[u8]) -> Result<(Vec<Vec<u8>>, Vec<u8>), Refused> {
        let timestamp = self.timestamp(request)?;
        let lines = request.headers.get_all(&self.header).iter().filter_map(|line| line.to_str().ok());
        let each = lines.flat_map(|line| match self.separator {
            Some(separator) => line.split(separator).collect::<Vec<_>>(),
            None => vec![line],
        });
        let signatures: Vec<Vec<u8>> = each
            .filter_map(|one| one.trim().strip_prefix(self.prefix.as_str()))
            .filter_map(|one| self.encoding.decode(one))
            .take(SIGNATURES_MAX)
            .collect();
        if signatures.is_empty() {
            return Err(Refused::Signature);
        }
        let parts = Parts { headers: request.headers, url: request.url, timestamp, body };
        let message = self.message.fill(parts).ok_or(Refused::Malformed)?;
        Ok((signatures, message))
    }

    /// The text of the timestamp's header, if it is within the tolerance; empty where there is none.
    fn timestamp<'a>(&self, request: &Request<'a>) -> Result<&'a str, Refused> {
        let Some(signed_at) = &self.timestamp else { return Ok("") };
        let value = request.headers.get(&signed_at.header).ok_or(Refused::NoCredential)?;
        let text = value.to_str().map_err(|_| Refused::Malformed)?;
        let at: u64 = text.parse().map_err(|_| Refused::Malformed)?;
        let seconds = match signed_at.unit {
            Unit::S => at,
            Unit::Ms => at / 1_000,
        };
        let (age, ahead) = (request.now.saturating_sub(seconds), seconds.saturating_sub(request.now));
        let is_within = age <= signed_at.tolerance_seconds && ahead <= AHEAD_MAX;
        if is_within { Ok(text) } else { Err(Refused::Timestamp) }
    }
}

impl SecretPlace {
    fn in_head(&self, request: &Request<'_>) -> Option<String> {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = |scheme: &str| {
            let (found, rest) = header("authorization")?.split_once(' ')?;
            found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
        };
        match self {
            Self::Header(name) => header(name).map(str::to_owned),
            Self::Bearer => authorization("bearer").map(str::to_owned),
            Self::Basic => String::from_utf8(from_base64(authorization("basic")?)?).ok(),
            Self::Path => request.path_secret.map(str::to_owned),
            Self::Query(name) => request.query_field(name),
            Self::Body(_) => None,
        }
    }
}
