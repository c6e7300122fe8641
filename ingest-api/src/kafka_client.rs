//! librdkafka: the one constructor of its settings, and which version it is.

use std::sync::LazyLock;

use rdkafka::ClientConfig;

/// The version of this program and of the Kafka client in it, with what that was built with: codecs, TLS, SASL.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let built_with = plain().create_native_config().and_then(|config| config.get("builtin.features"));
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let (version, built_with) = (env!("CARGO_PKG_VERSION"), built_with.unwrap_or_default());
    format!("{version}\nlibrdkafka {librdkafka}, built with {built_with}")
});

/// Settings without any of ours.
#[expect(clippy::disallowed_methods, reason = "the one constructor of this crate")]
pub fn plain() -> ClientConfig {
    ClientConfig::new()
}
