//! Whatever the bytes are, every preset answers within its bounds and never panics.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../fuzz/hook_property.rs"]
mod property;

use std::{fs, path::Path};

use proptest::prelude::*;

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
    fn any_text_is_read_or_refused(text in "[\\[\\]{}:,\"a-z0-9=&%+ ]{0,200}") {
        property::hook(text.as_bytes());
    }
}
