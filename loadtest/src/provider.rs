//! Speaks as a provider: the plan's messages in the form of the WhatsApp Cloud API, signed as Meta signs, so that
//! hooks are measured and verified as everything else is.
//!
//! The hook has to say that the phone number's id is the source, and to answer as `/v1/messages` does:
//!
//! ```toml
//! preset = "whatsapp-cloud"
//! change.source = { add = "" }
//! change.answer = { status = 202 }
//! ```
//!
//! Written from Meta's documentation and not shared with the crate `hooks`: see [`crate::sign`].

use anyhow::{Context as _, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;

/// A provider, with the secret that it shares with the hook. Debug prints nothing of it: `Hmac` shows its name.
#[derive(Debug, Clone)]
pub struct Provider {
    key: Hmac<Sha256>,
}

/// What a message of the plan says; its other members are not sent.
#[derive(Deserialize)]
struct Message {
    external_client_id: String,
    client_phone: String,
    external_message_id: String,
    text: String,
}

impl Provider {
    /// With this secret; white space around it is left away.
    pub fn new(secret: &str) -> anyhow::Result<Self> {
        let secret = secret.trim();
        ensure!(!secret.is_empty(), "there is no secret in it");
        Ok(Self { key: Hmac::new_from_slice(secret.as_bytes()).context("not a secret")? })
    }

    /// A message of the plan as the provider sends it.
    ///
    /// # Errors
    /// It is none, or its client has no phone.
    pub fn body(message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let Message { external_client_id, client_phone, external_message_id, text } =
            serde_json::from_slice(message)
                .context("a provider sends valid messages of clients with phones only")?;
        let digits: String = client_phone.chars().filter(char::is_ascii_digit).collect();
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": "100000000000001", "changes": [{ "field": "messages", "value": {
                "messaging_product": "whatsapp",
                "metadata": { "display_phone_number": "12025550100", "phone_number_id": external_client_id },
                "contacts": [{ "profile": { "name": "Ann Example" }, "wa_id": digits }],
                "messages": [{
                    "from": digits, "id": external_message_id, "timestamp": "1795494900", "type": "text",
                    "text": { "body": text },
                }],
            } }] }],
        });
        Ok(serde_json::to_vec(&body)?)
    }

    /// Adds the header of one attempt.
    pub fn sign(&self, headers: &mut HeaderMap, body: &[u8]) -> anyhow::Result<()> {
        let mut mac = self.key.clone();
        mac.update(body);
        let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        headers.insert("x-hub-signature-256", HeaderValue::from_str(&format!("sha256={digits}"))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HMAC_OF_AN_EMPTY_OBJECT: &str =
        "sha256=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13";

    #[test]
    fn a_body_is_signed_as_metas_example_is() {
        // `printf '%s' '{}' | openssl dgst -sha256 -hmac secret`
        let mut headers = HeaderMap::new();
        Provider::new(" secret\n").unwrap().sign(&mut headers, b"{}").unwrap();
        assert_eq!(headers["x-hub-signature-256"], HMAC_OF_AN_EMPTY_OBJECT);
    }

    #[test]
    fn a_message_keeps_who_what_and_under_which_id() {
        let message = json!({
            "external_client_id": "shop", "client_phone": "+7 (000) 000-00-00", "external_message_id": "m-1",
            "text": "\"Hello\"\n", "sent_at": "2026-11-24T04:35:00.000000Z",
        });
        let body = Provider::body(message.to_string().as_bytes()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let value = &body["entry"][0]["changes"][0]["value"];
        assert_eq!(value["metadata"]["phone_number_id"], "shop");
        let sent = &value["messages"][0];
        assert_eq!((&sent["from"], &sent["id"]), (&json!("70000000000"), &json!("m-1")));
        assert_eq!(sent["text"]["body"], "\"Hello\"\n");
        assert!(Provider::body(b"{").is_err());
    }
}
