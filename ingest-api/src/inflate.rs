//! Encoded bodies (`content-encoding`), inflated under a limit: a body that would grow beyond it is refused
//! when it reaches it, and no more than the limit is ever in memory (pitfalls 66).

use std::io::{ErrorKind, Read};

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
};
use flate2::bufread::MultiGzDecoder;

use crate::error::ApiError;

/// Of a zstd frame, 2^23 = 8 MiB: what RFC 9659 lets a sender use, and has a receiver take.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// How the body is encoded; `None` if it is not.
///
/// # Errors
/// In another way, or in several.
pub fn coding(headers: &HeaderMap) -> Result<Option<Coding>, ApiError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = match values.next().map(|value| value.as_bytes()) {
        None => None,
        Some(value) if value.eq_ignore_ascii_case(b"identity") => None,
        Some(value) if value.eq_ignore_ascii_case(b"gzip") => Some(Coding::Gzip),
        Some(value) if value.eq_ignore_ascii_case(b"zstd") => Some(Coding::Zstd),
        Some(_) => return Err(ApiError::UnsupportedEncoding),
    };
    if values.next().is_some() { Err(ApiError::UnsupportedEncoding) } else { Ok(coding) }
}

/// The body as it was before it was encoded: at most `limit` bytes.
///
/// # Errors
/// It is larger, or not what its coding asks for.
pub fn inflate(coding: Coding, raw: &[u8], limit: u32) -> Result<Bytes, ApiError> {
    let inflated = match coding {
        Coding::Gzip => read(MultiGzDecoder::new(raw), limit),
        Coding::Zstd => zstd::Decoder::with_buffer(raw).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            read(decoder, limit)
        }),
    };
    match inflated {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(ApiError::BodyTooLarge(limit)),
        Err(_) => Err(ApiError::BodyNotDecodable),
    }
}

fn read(decoder: impl Read, limit: u32) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more tells a body that is larger from one that is as large as allowed.
    decoder.take(u64::from(limit) + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > u64::from(limit) { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rstest::rstest;

    use super::*;

    const LIMIT: u32 = 64 * 1024;

    fn encoded(coding: Coding, body: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Zstd => zstd::encode_all(body, 3).unwrap(),
        }
    }

    #[rstest]
    fn a_body_comes_out_as_it_went_in(#[values(Coding::Gzip, Coding::Zstd)] coding: Coding) {
        let body: Vec<u8> = (0..LIMIT).map(|byte| (byte % 251) as u8).collect();
        assert_eq!(inflate(coding, &encoded(coding, &body), LIMIT).unwrap(), body);
        let (first, second) = body.split_at(1_000);
        let members = [encoded(coding, first), encoded(coding, second)].concat();
        assert_eq!(inflate(coding, &members, LIMIT).unwrap(), body, "several members are one body");
        assert_eq!(inflate(coding, &encoded(coding, b""), LIMIT).unwrap(), b""[..]);
    }

    #[rstest]
    fn one_byte_above_the_limit_is_too_large(#[values(Coding::Gzip, Coding::Zstd)] coding: Coding) {
        let body = vec![b'x'; LIMIT as usize + 1];
        assert_eq!(inflate(coding, &encoded(coding, &body), LIMIT), Err(ApiError::BodyTooLarge(LIMIT)));
    }

    #[rstest]
    fn a_bomb_is_refused_at_the_limit(#[values(Coding::Gzip, Coding::Zstd)] coding: Coding) {
        let bomb = encoded(coding, &vec![0; 60 << 20]);
        assert!(bomb.len() < LIMIT as usize, "the raw limit would not stop it: {}", bomb.len());
        assert_eq!(inflate(coding, &bomb, LIMIT), Err(ApiError::BodyTooLarge(LIMIT)));
    }

    #[rstest]
    fn what_is_broken_is_refused(#[values(Coding::Gzip, Coding::Zstd)] coding: Coding) {
        let whole = encoded(coding, b"a body of some words, some words");
        for length in 1..whole.len() {
            let cut = inflate(coding, &whole[..length], LIMIT);
            assert_eq!(cut, Err(ApiError::BodyNotDecodable), "{length} of {} bytes", whole.len());
        }
        assert_eq!(inflate(coding, b"{\"text\":\"plain\"}", LIMIT), Err(ApiError::BodyNotDecodable));
        let garbage = [whole, b"garbage".to_vec()].concat();
        assert_eq!(inflate(coding, &garbage, LIMIT), Err(ApiError::BodyNotDecodable));
    }

    #[test]
    fn a_zstd_frame_that_wants_a_larger_window_is_refused_before_it_gets_it() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(b"hello").unwrap();
        encoder.flush().unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(inflate(Coding::Zstd, &frame, LIMIT), Err(ApiError::BodyNotDecodable));
    }

    #[rstest]
    #[case(&[], Ok(None))]
    #[case(&["identity"], Ok(None))]
    #[case(&["GZIP"], Ok(Some(Coding::Gzip)))]
    #[case(&["zstd"], Ok(Some(Coding::Zstd)))]
    #[case(&["br"], Err(ApiError::UnsupportedEncoding))]
    #[case(&["gzip, gzip"], Err(ApiError::UnsupportedEncoding))]
    #[case(&["gzip", "zstd"], Err(ApiError::UnsupportedEncoding))]
    #[case(&[""], Err(ApiError::UnsupportedEncoding))]
    fn a_coding_is_one_that_is_known(
        #[case] values: &[&'static str],
        #[case] expected: Result<Option<Coding>, ApiError>,
    ) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, header::HeaderValue::from_static(value));
        }
        assert_eq!(coding(&headers), expected);
    }
}
