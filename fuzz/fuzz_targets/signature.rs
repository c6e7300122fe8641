#![no_main]

// The file alone: the whole of ingest-api would be built with sanitizers, librdkafka and all.
#[path = "../../ingest-api/src/signature.rs"]
#[allow(dead_code, reason = "not everything is fuzzed")]
mod signature;

#[path = "../signature_property.rs"]
mod signature_property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| signature_property::signature(data));
