//! `ingest-api hooks check`: what a description makes of a sample, before a provider is pointed at it.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use clap::Args;
use hooks::{
    Description, Hook, Item, Request, presets,
    signature::{Scheme, Signature, Signer},
};
use schemas::{Others, record};
use serde_json::{Value, json};

use crate::receive::now;

/// Checks a description, and shows what it makes of a sample.
#[derive(Debug, Args)]
pub struct Check {
    /// The file of a description, or the name of a preset.
    description: String,
    /// Changes to the description, in TOML, as `change` in the producers file: --change 'identity = "provider_id_first"'.
    #[arg(long, default_value = "")]
    change: String,
    /// File with a sample: a body or, for messages in a query, what follows the question mark. Prints what
    /// the hook makes of each item, which is personal data if the sample holds any.
    #[arg(long)]
    sample: Option<PathBuf>,
    /// A header of the sample, `name: value`. With --secret-env, the signature is checked.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// The URL to which the sample was sent, as its provider knows it.
    #[arg(long, default_value = "")]
    url: String,
    /// The environment variable that holds the secret with which the sample is signed.
    #[arg(long)]
    secret_env: Option<String>,
    /// When the sample was signed, in seconds since 1970, if it is older than its signature may be.
    #[arg(long)]
    signed_at: Option<u64>,
}

impl Check {
    /// Prints what is found.
    ///
    /// # Errors
    /// The description breaks a rule, the sample cannot be read or holds an item that would be quarantined, or its
    /// signature is not right.
    #[expect(clippy::print_stdout, reason = "it is what the command is for")]
    pub fn run(self) -> anyhow::Result<()> {
        let description = self.description()?;
        if let Some(variable) = &self.secret_env {
            self.look_at_signature(&description, variable)?;
            println!("signature: right");
        }
        Signer::check(&description.signature, description.body).map_err(anyhow::Error::msg)?;
        // Who sends it does not matter from here on.
        let unsigned = Signature { scheme: Scheme::None, ..description.signature.clone() };
        let hook = Hook::new(&Description { signature: unsigned, ..description }, &[], &[]);
        let hook = hook.map_err(anyhow::Error::msg)?;
        let Some(sample) = self.read_sample()? else {
            println!("the description breaks no rule");
            return Ok(());
        };
        let reading = hook.read_document(&sample, now(), &|_| true)?;
        for item in &reading.items {
            println!("{:#}", shown(item));
        }
        for (name, count) in &reading.skipped {
            println!("skipped as {name}: {count}");
        }
        let bad = reading.items.iter().filter(|item| matches!(item, Item::Bad(_))).count();
        ensure!(bad == 0, "{bad} of {} items would be quarantined", reading.items.len());
        Ok(())
    }

    fn description(&self) -> anyhow::Result<Description> {
        let text = match presets::text(&self.description) {
            Some(text) => text.to_owned(),
            None => std::fs::read_to_string(&self.description)
                .with_context(|| format!("{} is not a preset and cannot be read", self.description))?,
        };
        let change = toml::from_str(&self.change).context("--change is not TOML")?;
        presets::read(&text, change).map_err(anyhow::Error::msg).context(self.description.clone())
    }

    fn read_sample(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
        self.sample.as_ref().map(read).transpose()
    }

    #[expect(clippy::disallowed_methods, reason = "the user names the variable that holds the secret")]
    fn look_at_signature(&self, description: &Description, variable: &str) -> anyhow::Result<()> {
        let secret =
            std::env::var(variable).with_context(|| format!("cannot read the variable {variable}"))?;
        let hook = Hook::new(description, &[secret.trim().to_owned()], &[]).map_err(anyhow::Error::msg)?;
        let headers = self.headers.iter().map(|line| header(line)).collect::<anyhow::Result<HeaderMap>>()?;
        let body = self.read_sample()?.context("a signature needs a --sample")?;
        let now = self.signed_at.unwrap_or_else(|| now().as_millis().unsigned_abs() / 1_000);
        let request = Request { headers: &headers, url: &self.url, path_secret: None, now };
        let refused = |refused: hooks::signature::Refused| anyhow::anyhow!("signature: {}", refused.as_str());
        hook.signer().head(&request).map_err(refused)?;
        hook.signer().body(&request, &body).map_err(refused)
    }
}

fn header(line: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':').context("--header must be name: value")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}

/// An item for a person: the record's value, or why there is none.
fn shown(item: &Item) -> Value {
    match item {
        Item::Message { message, warnings, is_time_unreadable } => {
            let envelope = schemas::Envelope { received_at: now(), request_id: None, trace_parent: None };
            let record = record::encode_message(message, &Others::default(), &envelope);
            let warnings: Vec<&str> = warnings.iter().map(|warning| warning.detail()).collect();
            json!({
                "message": serde_json::from_slice::<Value>(&record.value).unwrap_or_default(),
                "client_id": record.key,
                "warnings": warnings,
                "time_unreadable": is_time_unreadable,
            })
        }
        Item::Bad(bad) => {
            json!({ "quarantined": bad.reason.as_str(), "detail": bad.reason.detail(), "document": bad.document })
        }
    }
}
