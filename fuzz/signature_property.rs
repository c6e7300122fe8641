//! What has to hold for the headers of any signed request. The fuzz target looks for headers for which it
//! does not; the test `ingest-api/tests/http/corpus.rs` tries those of the corpus with the stable toolchain.

use axum::http::{HeaderMap, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::signature::{Signed, SigningKey};

const KEY: [u8; 32] = [7; 32];
const BODY: &[u8] = b"{}";

/// Three lines, `webhook-id`, `webhook-timestamp`, `webhook-signature`: who has not signed is not believed,
/// whatever they write; a sender who has it is, whatever else the signature is about.
pub fn signature(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| HeaderValue::from_bytes(line).ok());
    let (Some(id), Some(timestamp), Some(signature)) = (line(), line(), line()) else { return };
    let key = SigningKey::parse(&format!("whsec_{}", STANDARD.encode(KEY))).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.clone());
    headers.insert("webhook-timestamp", timestamp.clone());
    headers.insert("webhook-signature", signature.clone());
    let Ok(signed) = Signed::read(&headers) else { return };
    assert!(!signed.is_by(&key, BODY), "nobody has signed this");

    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", BODY] {
        mac.update(part);
    }
    let right = format!("v1,{} ", STANDARD.encode(mac.finalize().into_bytes()));
    let both = [right.as_bytes(), signature.as_bytes()].concat();
    headers.insert("webhook-signature", HeaderValue::from_bytes(&both).unwrap());
    assert!(Signed::read(&headers).is_ok_and(|signed| signed.is_by(&key, BODY)));
    assert!(Signed::read(&headers).is_ok_and(|signed| !signed.is_by(&key, b"{ }")), "another body");
}
