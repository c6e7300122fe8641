//! From whom a request is: the ways in which providers sign, as data. What the head can tell is looked at before a
//! body is there ([`Signer::head`]); a signature over the body afterwards ([`Signer::body`]).
//!
//! Several secrets are valid together: that is a rotation. Comparisons take the same time whatever is compared.

mod blank;
mod method;
mod scheme;

use std::fmt;

use ring::signature::{ED25519, UnparsedPublicKey};
use subtle::{Choice, ConstantTimeEq as _};

use self::method::Method;
pub use self::{
    method::Refused,
    scheme::{Encoding, Scheme, SecretPlace, Signature, SignedAt, Unit},
};
use crate::{
    decode::{BodyKind, fields},
    jwt,
    request::Request,
    template::Parts,
    walk::{Found, Places, Slot, WORD_BYTES_MAX},
};

/// A rotation needs two.
const SECRETS_MAX: usize = 4;

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
        // A value may be a URL that names it.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secrets: Vec<String> = texts.flat_map(|text| [text.to_owned(), encoded(text)]).collect();
        match self.kind {
            BodyKind::Json => blank::in_json(&document, &secrets),
            BodyKind::Form | BodyKind::Query => blank::in_fields(&document, &secrets),
        }
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
        let item = *found.items().first().filter(|item| !item.is_ambiguous())?;
        found.value(*slot, 0, item)?.text(WORD_BYTES_MAX).map(std::borrow::Cow::into_owned)
    }
}
