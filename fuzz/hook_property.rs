//! What has to hold of every preset for any bytes at all.

use std::sync::OnceLock;

use hooks::{Hook, Item, presets, walk::ITEMS_MAX};
use schemas::Timestamp;

/// Each preset reads a body or refuses it; there are no more items than allowed; what is quarantined is no larger
/// than what came, and read again it is the same item.
pub fn hook(body: &[u8]) {
    let received_at = Timestamp::from_micros(1_795_521_600_000_000).unwrap();
    for hook in all() {
        let Ok(reading) = hook.read_document(body, received_at, &|_| true) else { continue };
        assert!(reading.items.len() <= ITEMS_MAX);
        for item in reading.items {
            let Item::Bad(bad) = item else { continue };
            assert!(bad.document.len() <= body.len());
            let again = hook.read_document(bad.document.as_bytes(), received_at, &|_| true).unwrap();
            let same = again.items.iter().any(|item| matches!(item, Item::Bad(same) if *same == bad));
            assert!(same, "{bad:?} is read as {again:?}");
        }
    }
}

fn all() -> &'static [Hook] {
    static ALL: OnceLock<Vec<Hook>> = OnceLock::new();
    ALL.get_or_init(|| {
        let unsigned = toml::from_str("signature = { scheme = \"none\" }");
        let unsigned: toml::Table = unsigned.unwrap();
        let of = |text: &str| {
            let mut description = presets::read(text, toml::Table::new()).unwrap();
            description.signature = serde::Deserialize::deserialize(unsigned["signature"].clone()).unwrap();
            Hook::new(&description, &[], &[]).unwrap()
        };
        presets::ALL.iter().map(|(_, text)| of(text)).collect()
    })
}
