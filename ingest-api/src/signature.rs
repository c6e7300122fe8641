//! Standard Webhooks: HMAC-SHA-256 over `{webhook-id}.{webhook-timestamp}.{raw body}`. Pure; told what
//! time it is; compares in constant time. Svix, where the specification comes from, writes the same headers as
//! `svix-id`, `svix-timestamp` and `svix-signature`.
//!
//! Not the crate `standardwebhooks` (1.0.1): it copies the body for every key, refuses a body that is not
//! UTF-8 (a compressed one), reads the clock itself, and knows one key at a time, so that a rotation
//! would parse and copy everything twice. Its test vector is below.

use std::{fmt, time::Duration};

use axum::http::HeaderMap;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

/// What a secret starts with.
pub const PREFIX: &str = "whsec_";
/// Bytes of a key: shorter ones can be guessed, longer ones would be hashed first.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How old a request's timestamp may be, unless its producer's setting says otherwise.
pub const TOLERANCE: Duration = Duration::from_secs(300);
/// How far a timestamp may be ahead, however old it may be: only a wrong clock puts it there.
const AHEAD_MAX: Duration = TOLERANCE;
/// Of one request; a rotation needs two.
const SIGNATURES_MAX: usize = 8;
const ID_BYTES_MAX: usize = 255;

/// The names of the three headers, the first family that carries a signature counts.
const FAMILIES: [[&str; 3]; 2] = [
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ["svix-id", "svix-timestamp", "svix-signature"],
];

/// Some senders leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
        let key = BASE64.decode(key).map_err(|_| SecretError::Base64)?;
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

/// A header is missing, contradicts itself, or cannot be read. No sender learns which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The headers of a signed request.
#[derive(Debug)]
pub struct Signed<'a> {
    id: &'a [u8],
    timestamp: &'a str,
    /// In seconds since 1970.
    signed_at: u64,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Signed<'a> {
    /// Whether a signature stands in the headers, readable or not.
    pub fn is_claimed(headers: &HeaderMap) -> bool {
        FAMILIES.iter().any(|[_, _, signature]| headers.contains_key(*signature))
    }

    /// Reads the headers.
    ///
    /// # Errors
    /// [`Malformed`]: no key can have made them.
    pub fn read(headers: &'a HeaderMap) -> Result<Self, Malformed> {
        let family = FAMILIES.iter().find(|[_, _, signature]| headers.contains_key(*signature));
        let [id, timestamp, signature] = family.ok_or(Malformed)?;
        let id = single(headers, id).ok_or(Malformed)?.as_bytes();
        let timestamp = single(headers, timestamp).ok_or(Malformed)?;
        if id.is_empty() || id.len() > ID_BYTES_MAX || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed);
        }
        let signed_at = timestamp.parse().map_err(|_| Malformed)?;
        let mut signatures = Vec::new();
        let mut left = SIGNATURES_MAX;
        for line in headers.get_all(*signature) {
            let ours = of_version_1(line.to_str().map_err(|_| Malformed)?);
            signatures.extend(ours.take(left).inspect(|_| left -= 1).filter_map(decode));
        }
        if signatures.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { id, timestamp, signed_at, signatures })
    }

    /// Whether the timestamp is at most `tolerance` old, and not further ahead than a clock may be wrong; `now`
    /// is in seconds since 1970.
    pub fn is_within(&self, tolerance: Duration, now: u64) -> bool {
        let age = Duration::from_secs(now.saturating_sub(self.signed_at));
        let ahead = Duration::from_secs(self.signed_at.saturating_sub(now));
        age <= tolerance && ahead <= tolerance.min(AHEAD_MAX)
    }

    /// Whether one of the signatures is made with `key` over `body`.
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

/// The signatures of a line that are of version 1: `v1,` and base64, separated by spaces. A proxy that makes
/// one line of several puts a comma between them. Other versions may stand beside ours (`v1a` is asymmetric):
/// they are passed over.
fn of_version_1(line: &str) -> impl Iterator<Item = &str> {
    let mut is_ours = false;
    line.split([' ', ',']).filter(|word| !word.is_empty()).filter(move |word| {
        let is_version = *word == "v1";
        std::mem::replace(&mut is_ours, is_version) && !is_version
    })
}

fn decode(signature: &str) -> Option<[u8; 32]> {
    // 32 bytes are 43 characters and one of padding: nothing longer is decoded.
    if (43..=44).contains(&signature.len()) { BASE64.decode(signature).ok()?.try_into().ok() } else { None }
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
        of_family(FAMILIES[0], [id, timestamp, signature])
    }

    fn of_family(names: [&'static str; 3], values: [&str; 3]) -> HeaderMap {
        names
            .into_iter()
            .zip(values)
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    /// The headers of the test vector.
    fn standard() -> HeaderMap {
        headers(ID, &TIMESTAMP.to_string(), SIGNATURE)
    }

    fn is_accepted(headers: &HeaderMap, body: &[u8], now: u64) -> bool {
        let key = SigningKey::parse(SECRET).unwrap();
        Signed::read(headers).is_ok_and(|signed| signed.is_within(TOLERANCE, now) && signed.is_by(&key, body))
    }

    #[test]
    fn the_standard_test_vector_passes() {
        assert!(is_accepted(&standard(), BODY, TIMESTAMP));
    }

    #[test]
    fn the_same_headers_pass_under_the_names_that_svix_gives_them() {
        let svix = of_family(FAMILIES[1], [ID, &TIMESTAMP.to_string(), SIGNATURE]);
        assert!(is_accepted(&svix, BODY, TIMESTAMP));
        let mut mixed = svix;
        mixed.remove("svix-id");
        mixed.insert("webhook-id", ID.parse().unwrap());
        assert!(!is_accepted(&mixed, BODY, TIMESTAMP), "half of each");
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
        assert_eq!(is_accepted(&standard(), BODY, now), accepted);
    }

    #[rstest]
    #[case::old_and_allowed(3_600, 3_600, true)]
    #[case::older(3_600, 3_601, false)]
    #[case::ahead(3_600, -300, true)]
    #[case::further_ahead(3_600, -301, false)]
    #[case::narrow(10, 11, false)]
    #[case::narrow_and_ahead(10, -11, false)]
    fn a_wider_tolerance_is_for_old_timestamps_only(
        #[case] tolerance: u64,
        #[case] age: i64,
        #[case] within: bool,
    ) {
        let (headers, now) = (standard(), TIMESTAMP.checked_add_signed(age).unwrap());
        let signed = Signed::read(&headers).unwrap();
        assert_eq!(signed.is_within(Duration::from_secs(tolerance), now), within);
    }

    #[rstest]
    #[case::several(format!("v1,AAAA v1a,zzz {SIGNATURE}"), true)]
    #[case::joined_by_a_proxy(format!("v1,AAAA, {SIGNATURE},v1,BBBB"), true)]
    #[case::unpadded(SIGNATURE.replace('=', ""), true)]
    #[case::an_empty_one_before(format!("v1, {SIGNATURE}"), true)]
    #[case::unknown_version(SIGNATURE.replace("v1,", "v2,"), false)]
    #[case::no_version(SIGNATURE.replace("v1,", ""), false)]
    #[case::cut(SIGNATURE[..20].to_owned(), false)]
    #[case::padded_twice(format!("{SIGNATURE}="), false)]
    #[case::empty("v1,".to_owned(), false)]
    #[case::beyond_the_limit(format!("{}{SIGNATURE}", "v1,AAAA ".repeat(SIGNATURES_MAX)), false)]
    fn one_right_signature_among_a_few_is_enough(#[case] signature: String, #[case] accepted: bool) {
        let headers = headers(ID, &TIMESTAMP.to_string(), &signature);
        assert_eq!(is_accepted(&headers, BODY, TIMESTAMP), accepted);
    }

    #[rstest]
    #[case::first(&[SIGNATURE, "v1,AAAA"], true)]
    #[case::last(&["v1,AAAA v1a,zzz", "v2,AAAA", SIGNATURE], true)]
    #[case::none(&["v1,AAAA", "v1,BBBB"], false)]
    #[case::beyond_the_limit(&["v1,A v1,A v1,A v1,A", "v1,A v1,A v1,A v1,A", SIGNATURE], false)]
    fn signatures_may_stand_in_lines_of_their_own(#[case] lines: &[&'static str], #[case] accepted: bool) {
        let mut headers = standard();
        headers.remove("webhook-signature");
        for line in lines {
            headers.append("webhook-signature", line.parse().unwrap());
        }
        assert_eq!(is_accepted(&headers, BODY, TIMESTAMP), accepted);
    }

    #[test]
    fn a_secret_may_be_written_without_its_padding() {
        let [padded, unpadded] =
            ["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];
        assert!(SigningKey::parse(padded).is_ok() && SigningKey::parse(unpadded).is_ok());
    }

    #[rstest]
    #[case::empty("")]
    #[case::plus("+1649367553")]
    #[case::negative("-1649367553")]
    #[case::fraction("1649367553.0")]
    #[case::huge("99999999999999999999999")]
    fn a_timestamp_is_digits(#[case] timestamp: &str) {
        let headers = headers(ID, timestamp, SIGNATURE);
        assert_eq!(Signed::read(&headers).unwrap_err(), Malformed);
    }

    #[test]
    fn a_header_that_is_missing_or_an_id_or_time_that_is_there_twice_is_refused() {
        for name in FAMILIES[0] {
            let mut headers = standard();
            let value = headers.get(name).unwrap().clone();
            headers.append(name, value);
            assert_eq!(is_accepted(&headers, BODY, TIMESTAMP), name == "webhook-signature", "{name} twice");
            headers.remove(name);
            assert!(!is_accepted(&headers, BODY, TIMESTAMP), "without {name}");
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
            prop_assert!(!is_accepted(&standard(), &body, TIMESTAMP));
        }

        #[test]
        fn no_header_makes_it_panic_or_pass(id in "[ -~]{0,300}", time in "[ -~]{0,40}", signature in "[ -~]{0,300}") {
            prop_assert!(!is_accepted(&headers(&id, &time, &signature), BODY, TIMESTAMP));
        }
    }
}
