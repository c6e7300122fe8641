//! What a provider's webhook costs the ingest API beside a signed message: the same messages to the same process,
//! in the form of the WhatsApp Cloud API and as Telex's own. What is compared is the API's processor time a request;
//! the rate depends as much on the sender, which shares the cores.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Result;
use axum::http::HeaderMap;
use loadtest::{plan::Plan, provider::Provider, sign::Signer};

use crate::{
    http::{self, Load},
    lab::Lab,
};

const KEY: &str = "whsec_dGhpcyBpcyBhIGtleSBvZiAzMiBieXRlcy4gYWJjZGU=";
const APP_SECRET: &str = "an app secret of the bench";

/// What the hook has to say so that the plan's sources are the sources, and 202 the answer.
const PRODUCERS: &str = r#"
[[producers]]
name = "bench"
secrets = [{ secret_file = "bench.key" }]
all_external_client_ids = true

[[producers.hooks]]
name = "whatsapp"
preset = "whatsapp-cloud"
secrets = [{ secret_file = "bench.app-secret" }]
verify_tokens = [{ secret_file = "bench.app-secret" }]
change = { source = { add = "" }, answer = { status = 202 } }
"#;

/// Of both ways what the ingest API did.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub signed: Load,
    pub webhook: Load,
}

/// Sends the plan's messages signed, then as webhooks.
pub fn measure(lab: &Lab, topic: &str, plan: &Plan, duration: Duration) -> Result<Pair> {
    for (file, text) in [("producers.toml", PRODUCERS), ("bench.key", KEY), ("bench.app-secret", APP_SECRET)]
    {
        fs::write(lab.directory.join(file), text)?;
    }
    lab.topic(topic)?;
    let producers = format!("--producers-file={}", lab.directory.join("producers.toml").display());
    let mut api = lab.ingest_api_with(topic, &[&producers])?;
    let server = lab.target(&api)?;
    let load =
        |requests| lab.runtime.block_on(http::load(server, Arc::new(requests), http::CONNECTIONS, duration));
    let pair = Pair { signed: load(signed(plan)?)?, webhook: load(webhooks(plan)?)? };
    api.stop()?;
    Ok(pair)
}

fn signed(plan: &Plan) -> Result<Vec<Vec<u8>>> {
    let (signer, now) = (Signer::new(KEY, Some("bench"))?, service_kit::clock::unix_time().as_secs());
    let request = |index| {
        let (body, mut headers) = (plan.body(&plan.request(index)), HeaderMap::new());
        signer.sign(&mut headers, &format!("bench-{index}"), now, &body)?;
        Ok(http::request_with("/v1/messages", "application/json", &headers, &body))
    };
    (0..plan.settings().messages).map(request).collect()
}

fn webhooks(plan: &Plan) -> Result<Vec<Vec<u8>>> {
    let provider = Provider::new(APP_SECRET)?;
    let request = |index| {
        let (body, mut headers) = (Provider::body(&plan.body(&plan.request(index)))?, HeaderMap::new());
        provider.sign(&mut headers, &body)?;
        Ok(http::request_with("/v1/hooks/whatsapp", "application/json", &headers, &body))
    };
    (0..plan.settings().messages).map(request).collect()
}
