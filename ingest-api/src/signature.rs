//! Standard Webhooks: HMAC-SHA-256 over `{webhook-id}.{webhook-timestamp}.{raw body}`. Pure; told what
//! time it is; compares in constant time.
//!
//! Not the crate `standardwebhooks` (1.0.1): it copies the body for every key, refuses a body that is not
//! UTF-8 (a compressed one), reads the clock itself, and knows one key at a time, so that a rotation
//! would parse and copy everything twice. Its test vector is below.

use std::fmt;

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

/// What a secret starts with.
pub const PREFIX: &str = "whsec_";
/// Bytes of a key: shorter ones can be guessed, longer ones would be hashed first.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How far a request's timestamp may be off, either way, in seconds.
const TOLERANCE_SECONDS: u64 = 300;
/// Of one request; a rotation needs two.
const SIGNATURES_MAX: usize = 8;
const ID_BYTES_MAX: usize = 255;

/// A key that signs. Debug prints none of it.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

/// Why a text is not a secret. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Another prefix.
    #[error("must start with whsec_")]
    Prefix,
    /// Not base64.
    #[error("must be base64 after whsec_")]
    Base64,
    /// Too short or too long.
    #[error("must have {min} to {max} bytes, has {0}", min = KEY_BYTES.start(), max = KEY_BYTES.end())]
    Length(usize),
}

impl SigningKey {
    /// From `whsec_` and base64.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(secret: &str) -> Result<Self, SecretError> {
        let key = secret.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let key = STANDARD.decode(key).map_err(|_| SecretError::Base64)?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| SecretError::Length(key.len()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a request cannot be told to be signed. For the metric: no sender learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A header is missing, is there twice, or cannot be read.
    Headers,
    /// The timestamp is too old or too far ahead.
    Timestamp,
}

/// The headers of a signed request.
#[derive(Debug)]
pub struct Signed<'a> {
    id: &'a [u8],
    timestamp: &'a str,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Signed<'a> {
    /// Reads the headers; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(headers: &'a HeaderMap, now: u64) -> Result<Self, Malformed> {
        let id = single(headers, "webhook-id").ok_or(Malformed::Headers)?.as_bytes();
        let timestamp = single(headers, "webhook-timestamp").ok_or(Malformed::Headers)?;
        let signatures = single(headers, "webhook-signature").ok_or(Malformed::Headers)?;
        if id.is_empty() || id.len() > ID_BYTES_MAX || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::Headers);
        }
        let seconds: u64 = timestamp.parse().map_err(|_| Malformed::Headers)?;
        if seconds.abs_diff(now) > TOLERANCE_SECONDS {
            return Err(Malformed::Timestamp);
        }
        // Other versions may stand beside ours (`v1a` is asymmetric): they are passed over.
        let ours = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
        let signatures: Vec<[u8; 32]> = ours.take(SIGNATURES_MAX).filter_map(decode).collect();
        if signatures.is_empty() {
            return Err(Malformed::Headers);
        }
        Ok(Self { id, timestamp, signatures })
    }

    /// Whether one of the signatures is made with `key` over `body`.
    #[must_use]
    pub fn is_by(&self, key: &SigningKey, body: &[u8]) -> bool {
        let mut mac = key.0.clone();
        for part in [self.id, b".", self.timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        let expected = mac.finalize().into_bytes();
        let equal = |signature: &[u8; 32]| expected.as_slice().ct_eq(signature);
        self.signatures.iter().fold(Choice::from(0), |any, signature| any | equal(signature)).into()
    }
}

/// The text of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

fn decode(signature: &str) -> Option<[u8; 32]> {
    // 32 bytes are 44 characters: nothing longer is decoded.
    if signature.len() == 44 { STANDARD.decode(signature).ok()?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    // The test vector of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const TIMESTAMP: u64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn is_accepted(headers: &HeaderMap, body: &[u8], now: u64) -> bool {
        let key = SigningKey::parse(SECRET).unwrap();
        Signed::read(headers, now).is_ok_and(|signed| signed.is_by(&key, body))
    }

    #[test]
    fn the_standard_test_vector_passes() {
        assert!(is_accepted(&headers(ID, &TIMESTAMP.to_string(), SIGNATURE), BODY, TIMESTAMP));
    }

    #[rstest]
    #[case::now(0, true)]
    #[case::just_old(299, true)]
    #[case::limit(300, true)]
    #[case::old(301, false)]
    #[case::just_ahead(-299, true)]
    #[case::ahead(-301, false)]
    fn a_timestamp_may_be_off_by_five_minutes_either_way(#[case] age: i64, #[case] accepted: bool) {
        let now = TIMESTAMP.checked_add_signed(age).unwrap();
        let headers = headers(ID, &TIMESTAMP.to_string(), SIGNATURE);
        assert_eq!(is_accepted(&headers, BODY, now), accepted);
    }

    #[rstest]
    #[case::several(format!("v1,AAAA v1a,zzz {SIGNATURE}"), true)]
    #[case::unknown_version(SIGNATURE.replace("v1,", "v2,"), false)]
    #[case::no_version(SIGNATURE.replace("v1,", ""), false)]
    #[case::cut(SIGNATURE[..20].to_owned(), false)]
    #[case::empty("v1,".to_owned(), false)]
    #[case::beyond_the_limit(format!("{}{SIGNATURE}", "v1,AAAA ".repeat(SIGNATURES_MAX)), false)]
    fn one_right_signature_among_a_few_is_enough(#[case] signature: String, #[case] accepted: bool) {
        let headers = headers(ID, &TIMESTAMP.to_string(), &signature);
        assert_eq!(is_accepted(&headers, BODY, TIMESTAMP), accepted);
    }

    #[rstest]
    #[case::empty("")]
    #[case::plus("+1649367553")]
    #[case::negative("-1649367553")]
    #[case::fraction("1649367553.0")]
    #[case::huge("99999999999999999999999")]
    fn a_timestamp_is_digits(#[case] timestamp: &str) {
        let headers = headers(ID, timestamp, SIGNATURE);
        assert_eq!(Signed::read(&headers, TIMESTAMP).unwrap_err(), Malformed::Headers);
    }

    #[test]
    fn a_header_that_is_missing_or_there_twice_is_refused() {
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut twice = headers(ID, &TIMESTAMP.to_string(), SIGNATURE);
            let value = twice.get(name).unwrap().clone();
            twice.append(name, value);
            assert!(!is_accepted(&twice, BODY, TIMESTAMP), "{name}");
            twice.remove(name);
            assert!(!is_accepted(&twice, BODY, TIMESTAMP), "{name}");
        }
    }

    #[rstest]
    #[case::prefix("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", SecretError::Prefix)]
    #[case::base64("whsec_not base64!", SecretError::Base64)]
    #[case::short("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", SecretError::Length(23))]
    fn a_secret_that_breaks_a_rule_is_refused(#[case] secret: &str, #[case] error: SecretError) {
        assert_eq!(SigningKey::parse(secret).unwrap_err(), error);
    }

    #[test]
    fn a_key_prints_as_stars() {
        assert_eq!(format!("{:?}", SigningKey::parse(SECRET).unwrap()), "***");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(byte in 0..BODY.len(), bit in 0u8..8) {
            let mut body = BODY.to_vec();
            body[byte] ^= 1 << bit;
            prop_assert!(!is_accepted(&headers(ID, &TIMESTAMP.to_string(), SIGNATURE), &body, TIMESTAMP));
        }

        #[test]
        fn no_header_makes_it_panic_or_pass(id in "[ -~]{0,300}", time in "[ -~]{0,40}", signature in "[ -~]{0,300}") {
            prop_assert!(!is_accepted(&headers(&id, &time, &signature), BODY, TIMESTAMP));
        }
    }
}
