//! The media type that a request declares.

use axum::http::{HeaderMap, header};

use crate::{error::ApiError, media::Media};

/// What UTF-8 is called (WHATWG, Encoding).
const UTF_8: [&str; 6] =
    ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];

/// Which of these the body is, in UTF-8.
///
/// # Errors
/// None of them.
pub fn content_type(headers: &HeaderMap, among: &'static [Media]) -> Result<Media, ApiError> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_utf8 = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset")
            || UTF_8.iter().any(|label| value.trim().trim_matches('"').eq_ignore_ascii_case(label))
    });
    let media = among.iter().find(|media| media.is(essence));
    media.copied().filter(|_| is_utf8).ok_or(ApiError::UnsupportedMediaType(among))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const BOTH: &[Media] = &[Media::Json, Media::Ndjson];

    #[rstest]
    #[case::plain("application/json", Media::Json)]
    #[case::parameter("Application/JSON; charset=UTF-8", Media::Json)]
    #[case::quoted("application/json;charset=\"utf-8\"", Media::Json)]
    #[case::lines("application/x-ndjson", Media::Ndjson)]
    #[case::label("application/json; charset=utf8", Media::Json)]
    #[case::quoted_label("application/json; charset=\"UTF8\"", Media::Json)]
    #[case::older_label("application/x-ndjson; charset=unicode-1-1-utf-8", Media::Ndjson)]
    #[case::older_name("text/json; charset=utf-8", Media::Json)]
    fn a_type_in_utf8_is_known(#[case] declared: &'static str, #[case] media: Media) {
        assert_eq!(content_type(&content_type_of(declared), BOTH), Ok(media));
    }

    #[rstest]
    #[case::text("text/plain")]
    #[case::latin("application/json; charset=latin1")]
    #[case::longer("application/jsonp")]
    #[case::cloud_event("application/cloudevents+json")]
    #[case::utf16("application/json; charset=utf-16")]
    #[case::empty("")]
    fn another_type_is_refused(#[case] declared: &'static str) {
        let refused = Err(ApiError::UnsupportedMediaType(BOTH));
        assert_eq!(content_type(&content_type_of(declared), BOTH), refused);
    }

    #[test]
    fn a_type_is_known_only_where_it_is_taken_and_has_to_be_said() {
        assert!(content_type(&content_type_of("application/x-ndjson"), &[Media::Json]).is_err());
        assert!(content_type(&HeaderMap::new(), BOTH).is_err());
    }

    fn content_type_of(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, header::HeaderValue::from_static(value))])
    }
}
