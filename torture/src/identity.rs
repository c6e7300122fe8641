//! Identities and hashes of the contract, written a second time: what the product computes is compared with
//! what stands here, so no hash here is of a crate that the product computes these with.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// `UUIDv5(URL namespace, "urn:telex:client")`, as the contract states it.
const CLIENT_NAMESPACE: u128 = 0xc4c0_de32_8e8c_5362_978a_eb38_93fb_468e;

/// The id of a client: UUIDv5 of source, a zero byte and the normalised address.
pub fn client_id(external_client_id: &str, address: &str) -> String {
    let mut name = CLIENT_NAMESPACE.to_be_bytes().to_vec();
    name.extend(external_client_id.as_bytes());
    name.push(0);
    name.extend(address.as_bytes());
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &name);
    uuid(sha1.as_ref().first_chunk().copied().unwrap_or_default(), 5)
}

/// The id of the dialog that a record opens: UUIDv8 of the time of append and the record's place.
pub fn dialog_id(topic_id: [u8; 16], partition: i32, offset: i64, appended_ms: i64) -> String {
    let mut place = topic_id.to_vec();
    place.extend(partition.to_be_bytes());
    place.extend(offset.to_be_bytes());
    let mut bytes = [0; 16];
    let time = appended_ms.to_be_bytes();
    for (byte, source) in bytes.iter_mut().zip(time.iter().skip(2).chain(digest(&SHA256, &place).as_ref())) {
        *byte = *source;
    }
    uuid(bytes, 8)
}

/// What a message row keeps of a body, in hexadecimal: the first 128 bits of SHA-256 of the event type, the
/// client id, the message's id, the text and `sent_at`, each after a zero byte but the first.
pub fn body_hash(client_id: &str, external_message_id: &str, text: &str, sent_at: Option<&str>) -> String {
    let said =
        ["telex.message.received.v2", client_id, external_message_id, text, sent_at.unwrap_or_default()];
    let mut hash = hex::encode(digest(&SHA256, said.join("\0").as_bytes()));
    hash.truncate(32);
    hash
}

/// What a progress row keeps of the last applied record, in hexadecimal.
pub fn record_digest(key: Option<&[u8]>, value: Option<&[u8]>, appended_ms: i64) -> String {
    let mut bytes = Vec::new();
    for part in [key, value] {
        bytes.extend(part.map_or(-1_i64, |part| part.len() as i64).to_be_bytes());
        bytes.extend(part.unwrap_or_default());
    }
    bytes.extend((appended_ms * 1_000).to_be_bytes());
    hex::encode(digest(&SHA256, &bytes))
}

/// Where Java's default partitioner puts a key.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions
}

fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ u32::try_from(key.len()).unwrap_or_default();
    let mut chunks = key.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte)).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    if !chunks.remainder().is_empty() {
        h ^= chunks.remainder().iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte));
        h = h.wrapping_mul(M);
    }
    h = (h ^ h >> 13).wrapping_mul(M);
    h ^ h >> 15
}

fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    let part = |range| hex.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_hash_is_that_of_the_golden_record() {
        let hash = body_hash(
            "e60660c7-bd8f-5ba9-b814-6dbee9550932",
            "wamid.1",
            "Привет, \"Telex\" 👋\n",
            Some("2026-11-24T04:34:59.500000Z"),
        );
        assert_eq!(hash, "d71014ef9eb1f365ad6dcf4f9fa84945");
    }

    #[test]
    fn the_hash_of_a_key_is_that_of_kafkas_own_tests() {
        assert_eq!(murmur2(b"21").cast_signed(), -973_932_308);
        assert_eq!(murmur2(b"foobar").cast_signed(), -790_332_482);
        assert_eq!(murmur2(b"a-little-bit-longer-string").cast_signed(), -1_486_304_829);
    }
}
