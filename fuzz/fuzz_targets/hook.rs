//! Providers' webhooks, read by every preset.
#![no_main]

#[path = "../hook_property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::hook(data));
