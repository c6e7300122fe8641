//! A signature whose fields fit its scheme: what it takes from a request, and over which bytes it is. Nothing here
//! holds a secret or compares one.

use ring::hmac;

use super::scheme::{Encoding, Scheme, SecretPlace, Signature, SignedAt, Unit};
use crate::{
    decode::BodyKind,
    jwt,
    request::Request,
    template::{Parts, Template, from_base64},
};

/// Signatures that are looked at of one request, at most.
const SIGNATURES_MAX: usize = 8;
/// How far ahead a provider's clock may be, in seconds.
const AHEAD_MAX: u64 = 300;
/// Of Ed25519 (RFC 8032).
const PUBLIC_KEY_BYTES: usize = 32;
/// Shorter ones can be guessed.
const SECRET_BYTES_MIN: usize = 16;

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

/// A signature whose fields fit its scheme.
#[derive(Debug, Clone)]
pub(super) enum Method {
    Hmac { digest: Digest, place: Place },
    Ed25519 { place: Place },
    Jwt { header: String, prefix: String, covered: jwt::Covered },
    Secret { at: SecretPlace },
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

/// Where a signature stands, and over what it is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) header: String,
    prefix: String,
    separator: Option<char>,
    encoding: Encoding,
    pub(super) message: Template,
    timestamp: Option<SignedAt>,
}

impl Method {
    pub(super) fn of(signature: &Signature, kind: BodyKind) -> Result<Self, &'static str> {
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

    pub(super) fn key(&self, form: Encoding, secret: &str) -> Result<Vec<u8>, String> {
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
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => from_base64(text),
        }
    }
}

impl Digest {
    pub(super) fn of(self, key: &[u8], message: &[u8]) -> Vec<u8> {
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
    pub(super) fn signed(
        &self,
        request: &Request<'_>,
        body: &[u8],
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), Refused> {
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
    pub(super) fn timestamp<'a>(&self, request: &Request<'a>) -> Result<&'a str, Refused> {
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
    pub(super) fn in_head(&self, request: &Request<'_>) -> Option<String> {
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
