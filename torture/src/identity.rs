//! Identities and hashes of the contract, written a second time: what the product computes is compared with
//! what stands here.

use sha2::{Digest as _, Sha256};

/// `UUIDv5(URL namespace, "urn:telex:client")`, as the contract states it.
const CLIENT_NAMESPACE: u128 = 0xc4c0_de32_8e8c_5362_978a_eb38_93fb_468e;

/// The id of a client: UUIDv5 of source, a zero byte and the normalised address.
pub fn client_id(external_client_id: &str, address: &str) -> String {
    let mut name = CLIENT_NAMESPACE.to_be_bytes().to_vec();
    name.extend(external_client_id.as_bytes());
    name.push(0);
    name.extend(address.as_bytes());
    uuid(sha1(&name).first_chunk().copied().unwrap_or_default(), 5)
}

/// The id of the dialog that a record opens: UUIDv8 of the time of append and the record's place.
pub fn dialog_id(topic_id: [u8; 16], partition: i32, offset: i64, appended_ms: i64) -> String {
    let mut place = topic_id.to_vec();
    place.extend(partition.to_be_bytes());
    place.extend(offset.to_be_bytes());
    let mut bytes = [0; 16];
    let time = appended_ms.to_be_bytes();
    for (byte, source) in bytes.iter_mut().zip(time.iter().skip(2).chain(&Sha256::digest(&place))) {
        *byte = *source;
    }
    uuid(bytes, 8)
}

/// What a message row keeps of a body, in hexadecimal: the first 128 bits of SHA-256 of the event type, the
/// client id, the message's id, the text and `sent_at`, each after a zero byte but the first.
pub fn body_hash(client_id: &str, external_message_id: &str, text: &str, sent_at: Option<&str>) -> String {
    let said =
        ["telex.message.received.v2", client_id, external_message_id, text, sent_at.unwrap_or_default()];
    Sha256::digest(said.join("\0")).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What a progress row keeps of the last applied record, in hexadecimal.
pub fn record_digest(key: Option<&[u8]>, value: Option<&[u8]>, appended_ms: i64) -> String {
    let mut bytes = Vec::new();
    for part in [key, value] {
        bytes.extend(part.map_or(-1_i64, |part| part.len() as i64).to_be_bytes());
        bytes.extend(part.unwrap_or_default());
    }
    bytes.extend((appended_ms * 1_000).to_be_bytes());
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| hex.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// SHA-1 (RFC 3174).
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64) + if (padded.len() - 1) % 64 >= 56 { 64 } else { 0 }, 0);
    let bits = (message.len() as u64 * 8).to_be_bytes();
    let place = padded.len() - 8;
    for (byte, source) in padded.iter_mut().skip(place).zip(bits) {
        *byte = source;
    }
    for block in padded.chunks_exact(64) {
        let mut w: Vec<u32> = block.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        for i in 16..80 {
            let back = |n: usize| w.get(i - n).copied().unwrap_or_default();
            w.push((back(3) ^ back(8) ^ back(14) ^ back(16)).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in w.iter().enumerate() {
            let (f, k) = match i {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (byte, source) in digest.iter_mut().zip(state.iter().flat_map(|word| word.to_be_bytes())) {
        *byte = source;
    }
    digest
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
    fn the_hashes_are_those_of_their_standards() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha1(&[b'a'; 55])), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
        assert_eq!(hex(&sha1(&[b'a'; 56])), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
        assert_eq!(hex(&sha1(&[b'a'; 63])), "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
        assert_eq!(hex(&sha1(&[b'a'; 64])), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
        assert_eq!(murmur2(b"21").cast_signed(), -973_932_308);
        assert_eq!(murmur2(b"foobar").cast_signed(), -790_332_482);
        assert_eq!(murmur2(b"a-little-bit-longer-string").cast_signed(), -1_486_304_829);
    }
}
