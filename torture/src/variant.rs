//! How the messages of a Telex come: one by one or in batches, signed and compressed, from few clients or from
//! more than the processors remember.

use std::{fs, path::Path, time::UNIX_EPOCH};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use ring::hmac::{HMAC_SHA256, Key, sign};

/// Of a request, beside those that each has.
pub type Headers = Vec<(&'static str, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Each in a request of its own, from few clients: each has several in flight.
    Single,
    Batches,
    /// In a request of its own, signed over its compressed bytes.
    Signed,
    /// From more clients than the processors remember.
    ManyClients,
}

const KEY: &[u8] = b"torture signs with this key of 32";

impl Variant {
    /// All, in the order in which a long run takes them.
    pub const ALL: [Self; 4] = [Self::Single, Self::Batches, Self::Signed, Self::ManyClients];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single messages",
            Self::Batches => "batches",
            Self::Signed => "signed and compressed",
            Self::ManyClients => "many clients",
        }
    }

    pub const fn clients(self) -> u64 {
        match self {
            Self::ManyClients => 20_000,
            Self::Single | Self::Batches | Self::Signed => 160,
        }
    }

    pub const fn messages(self) -> u64 {
        match self {
            Self::Batches => 20,
            Self::Single | Self::Signed | Self::ManyClients => 1,
        }
    }

    pub const fn path(self) -> &'static str {
        match self {
            Self::Batches => "/v1/messages/batch",
            Self::Single | Self::Signed | Self::ManyClients => "/v1/messages",
        }
    }

    /// Writes the files that the programs need.
    pub fn prepare(self, directory: &Path) -> Result<()> {
        if self == Self::Signed {
            fs::create_dir_all(directory)?;
            let secret = STANDARD.encode(KEY);
            let producer = format!(
                "[[producers]]\nname = \"torture\"\nsecrets = [{{ secret = \"whsec_{secret}\" }}]\nall_external_client_ids = true\n"
            );
            fs::write(directory.join("producers.toml"), producer)?;
        }
        Ok(())
    }

    pub fn api_settings(self, directory: &Path) -> Vec<String> {
        match self {
            Self::Signed => vec![format!("--producers-file={}", directory.join("producers.toml").display())],
            Self::Single | Self::Batches | Self::ManyClients => Vec::new(),
        }
    }

    pub fn processor_settings(self) -> Vec<String> {
        match self {
            Self::ManyClients => vec!["--cache-clients-max=100".to_owned()],
            Self::Single | Self::Batches | Self::Signed => Vec::new(),
        }
    }

    /// A body as it goes over the wire, and the headers that go with it.
    pub fn wrap(self, id: &str, body: &str) -> Result<(Vec<u8>, Headers)> {
        if self != Self::Signed {
            return Ok((body.as_bytes().to_vec(), Vec::new()));
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut encoder, body.as_bytes())?;
        let bytes = encoder.finish()?;
        let seconds = UNIX_EPOCH.elapsed()?.as_secs();
        let signed = [format!("{id}.{seconds}.").as_bytes(), &bytes].concat();
        let signature = STANDARD.encode(sign(&Key::new(HMAC_SHA256, KEY), &signed));
        let headers = vec![
            ("content-encoding", "gzip".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", format!("v1,{signature}")),
        ];
        Ok((bytes, headers))
    }
}
