//! The corpora of the fuzz targets, with the toolchain that everything else is built with.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

#[path = "../../fuzz/properties.rs"]
mod properties;

#[test]
fn the_properties_hold_for_every_input_of_the_corpora() {
    type Property = fn(&[u8]);
    let message: Property = properties::message;
    for (target, holds) in [("message", message), ("batch", properties::batch), ("phone", properties::phone)]
    {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let inputs = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let mut count = 0;
        for input in inputs {
            holds(&fs::read(input.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 10, "{target}: {count} inputs");
    }
}
