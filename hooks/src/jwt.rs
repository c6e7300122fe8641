//! JSON Web Tokens of the kind HS256 (RFC 7519, RFC 7515), which some providers put beside a request: a claim holds
//! the hash of the body, another one that of the URL.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature,
};
use ring::{
    digest::{SHA256, digest},
    hmac,
};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::template::Parts;

/// How far a provider's clock may be off, in seconds.
const LEEWAY: u64 = 60;

/// The claims that are looked at.
#[derive(Debug, Deserialize)]
struct Claims {
    /// Seconds since 1970, as the next two.
    exp: Option<u64>,
    nbf: Option<u64>,
    iat: Option<u64>,
    /// SHA-256 of the body, in hexadecimal digits.
    payload_hash: Option<String>,
    /// SHA-256 of the URL.
    url_hash: Option<String>,
}

/// What a token has to say besides the hash of the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Covered {
    pub url: bool,
    /// How old a token may be that says when it was made, in seconds.
    pub tolerance: u64,
}

/// Whether `token` is made with this key for this request; `now` is in seconds since 1970.
pub(crate) fn is_by(token: &str, key: &[u8], covered: Covered, parts: Parts<'_>, now: u64) -> bool {
    install();
    let mut validation = Validation::new(Algorithm::HS256);
    // The times are looked at below, by the clock of the caller.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let Ok(token) = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(key), &validation) else {
        return false;
    };
    let Claims { exp, nbf, iat, payload_hash, url_hash } = token.claims;
    let is_hash = |claim: Option<String>, of: &[u8]| {
        let expected = hex::encode(digest(&SHA256, of));
        claim.is_some_and(|claim| claim.to_ascii_lowercase().as_bytes().ct_eq(expected.as_bytes()).into())
    };
    exp.is_none_or(|until| now <= until.saturating_add(LEEWAY))
        && nbf.is_none_or(|from| from <= now.saturating_add(LEEWAY))
        && iat.is_none_or(|made| made <= now.saturating_add(LEEWAY) && now - made.min(now) <= covered.tolerance)
        // Without either a token would be good forever.
        && (exp.is_some() || iat.is_some())
        && is_hash(payload_hash, parts.body)
        && (!covered.url || is_hash(url_hash, parts.url.as_bytes()))
}

/// The library's own cryptography brings RSA and two curves along. A token of HS256 needs the HMAC that is here
/// already.
fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: never_signs,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    // Whatever is installed already knows HS256, too.
    ONCE.call_once(|| {
        let _another = PROVIDER.install_default().is_err();
    });
}

fn never_signs(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Hs256(hmac::Key);

impl signature::Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_unspecified| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}
