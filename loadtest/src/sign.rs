//! How the sender says who it is: Standard Webhooks, HMAC-SHA-256 over `{id}.{timestamp}.{raw body}`.
//!
//! Written from the specification and not shared with the ingest API: a sender that took the receiver's
//! own code would agree with it also where both are wrong.

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use sha2::Sha256;

/// Signs requests. Debug prints nothing of the key: `Hmac` shows its name.
#[derive(Debug, Clone)]
pub struct Signer {
    key: Hmac<Sha256>,
    producer: Option<HeaderValue>,
}

impl Signer {
    /// From a secret, `whsec_` and base64; white space around it is left away. `producer` is the name that
    /// the API looks the secrets up by; without it, it tries all.
    ///
    /// # Errors
    /// Not a secret; the error says nothing of it.
    pub fn new(secret: &str, producer: Option<&str>) -> anyhow::Result<Self> {
        let Some(key) = secret.trim().strip_prefix("whsec_") else { bail!("a secret begins with whsec_") };
        let Ok(key) = STANDARD.decode(key) else { bail!("a secret is base64 after whsec_") };
        let Ok(key) = Hmac::new_from_slice(&key) else { bail!("the secret has no key") };
        let producer = producer.map(HeaderValue::from_str).transpose().context("not a producer's name")?;
        Ok(Self { key, producer })
    }

    /// Adds the headers of one attempt; `now` is in seconds since 1970.
    pub fn sign(&self, headers: &mut HeaderMap, id: &str, now: u64, body: &[u8]) -> anyhow::Result<()> {
        let now = now.to_string();
        let mut mac = self.key.clone();
        for part in [id.as_bytes(), b".", now.as_bytes(), b".", body] {
            mac.update(part);
        }
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        headers.insert("webhook-id", HeaderValue::from_str(id)?);
        headers.insert("webhook-timestamp", HeaderValue::from_str(&now)?);
        headers.insert("webhook-signature", HeaderValue::from_str(&signature)?);
        if let Some(producer) = &self.producer {
            headers.insert("x-telex-producer", producer.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_test_vector_comes_out() {
        let signer = Signer::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n", None).unwrap();
        let mut headers = HeaderMap::new();
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        signer.sign(&mut headers, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body).unwrap();
        assert_eq!(headers["webhook-signature"], "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert_eq!(headers["webhook-timestamp"], "1649367553");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for secret in ["", "C2FVsBQI", "whsec_not base64!"] {
            let error = Signer::new(secret, None).unwrap_err().to_string();
            assert!(secret.is_empty() || !error.contains(secret), "{error}");
        }
    }
}
