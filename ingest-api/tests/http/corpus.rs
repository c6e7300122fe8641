//! The corpus of the fuzz target `signature`, with the toolchain that everything else is built with.

use std::{fs, path::Path};

#[path = "../../../fuzz/signature_property.rs"]
mod signature_property;

#[test]
fn the_property_of_signatures_holds_for_every_input_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/signature");
    let inputs: Vec<_> = fs::read_dir(&corpus).unwrap().collect();
    assert!(inputs.len() >= 10, "{} inputs", inputs.len());
    for input in inputs {
        signature_property::signature(&fs::read(input.unwrap().path()).unwrap());
    }
}
