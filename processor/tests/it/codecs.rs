//! Whatever codec a writer compresses with, its records are read.

use serde_json::json;

use crate::{
    harness::Telex,
    topic::{Writer, partition_of},
};

const CODECS: [&str; 4] = ["gzip", "snappy", "lz4", "zstd"];

#[test]
fn record_batches_of_every_codec_are_applied() {
    let mut telex = Telex::new();
    let processor = telex.processor();
    for codec in CODECS {
        // Large batches of equal texts: librdkafka sends one that compression does not make smaller as it is.
        let writer = Writer::with(&telex, &[("compression.type", codec), ("linger.ms", "200")]);
        let text = "the same words again and again ".repeat(20);
        for id in 0..100 {
            writer.message(codec, &format!("m-{id}"), &text);
        }
        writer.flush();
        let report = telex.assert_clean();
        let messages = format!("select count(*) from messages where partition = {}", partition_of(codec));
        assert!(telex.number(&messages) >= 100, "{codec}: {report:#}");
    }
    assert_eq!(telex.prove()["rows"]["messages"], json!(400));
    assert!(!processor.server.log_text().contains("cannot be read"));
}

#[test]
fn the_programs_say_what_their_kafka_client_was_built_with() {
    let telex = Telex::new();
    for program in ["processor", "ingest-api"] {
        let mut command = std::process::Command::new(telex.programs.binaries.join(program));
        let output = command.arg("--version").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(program) && said.contains("librdkafka 2."), "{said}");
        for feature in CODECS.into_iter().chain(["ssl", "sasl_scram"]) {
            assert!(said.contains(feature), "{feature}: {said}");
        }
    }
}
