//! Whatever the bytes are, every preset answers within its bounds and never panics.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../fuzz/hook_property.rs"]
mod property;

use std::{fs, path::Path, sync::OnceLock};

use hooks::{Hook, Request, presets};
use http::HeaderMap;
use proptest::prelude::*;

/// What any of the presets looks at for a signature or a secret.
const SIGNATURES: [&str; 13] = [
    "authorization",
    "messagebird-signature-jwt",
    "telnyx-signature-ed25519",
    "x-api-key",
    "x-chatwoot-signature",
    "x-hub-signature-256",
    "x-plivo-signature-v3",
    "x-sinch-webhook-signature",
    "x-telegram-bot-api-secret-token",
    "x-telex-secret",
    "x-twilio-signature",
    "x-viber-content-signature",
    "x-webhook-hmac",
];
/// And what is signed beside the body.
const SIGNED: [&str; 5] = [
    "telnyx-timestamp",
    "x-chatwoot-timestamp",
    "x-plivo-signature-v3-nonce",
    "x-sinch-webhook-signature-nonce",
    "x-sinch-webhook-signature-timestamp",
];

/// Every preset, with a secret that nobody knows.
fn signed() -> &'static [Hook] {
    static ALL: OnceLock<Vec<Hook>> = OnceLock::new();
    ALL.get_or_init(|| {
        // A public key, and a text of more than sixteen bytes.
        let secret = "3oTXMhBEPoYU6oNThqb8xJBO3cAfMP0nKmLOXRMVFpY=".to_owned();
        let of = |text: &str| {
            let description = presets::read(text, toml::Table::new()).unwrap();
            Hook::new(&description, std::slice::from_ref(&secret), &[]).unwrap()
        };
        presets::ALL.iter().map(|(_, text)| of(text)).collect()
    })
}

fn files_in(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn what_the_fuzzer_began_with_and_what_it_found_is_read_or_refused() {
    files_in("../fuzz/corpus/hook").iter().for_each(|body| property::hook(body));
}

proptest! {
    #[test]
    fn a_sample_that_was_damaged_is_read_or_refused(
        sample in prop::sample::select(files_in("tests/samples")),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..4), 1..6),
    ) {
        let mut body = sample;
        for (at, byte, how) in cuts {
            let at = at.index(body.len().max(1)).min(body.len().saturating_sub(1));
            match how {
                0 if !body.is_empty() => body[at] = byte,
                1 => body.truncate(at),
                2 => body.insert(at, byte),
                _ => body.extend_from_within(at..),
            }
        }
        property::hook(&body);
    }

    #[test]
    fn whatever_the_head_and_the_body_are_nobody_is_believed_without_the_secret(
        signature in "(sha256=|Bearer |Basic |)[A-Za-z0-9+/=._, -]{0,120}",
        beside in "[0-9]{0,22}|17954949[0-9]{2}",
        body in prop::sample::select(files_in("tests/samples")),
    ) {
        let mut headers = HeaderMap::new();
        for name in SIGNATURES {
            headers.insert(name, signature.parse().unwrap());
        }
        for name in SIGNED {
            headers.insert(name, beside.parse().unwrap());
        }
        let url = "https://telex.example/v1/hooks/name?a=1";
        let request = Request { headers: &headers, url, path_secret: Some(&signature), now: 1_795_494_900 };
        for hook in signed() {
            prop_assert!(hook.signer().body(&request, &body).is_err());
            let _what_the_head_says = hook.signer().head(&request).is_ok();
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}:,\"a-z0-9=&%+ ]{0,200}") {
        property::hook(text.as_bytes());
    }
}
