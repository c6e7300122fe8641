//! From a body to text and fields.

use std::borrow::Cow;

use serde::Deserialize;

use crate::walk::Lost;

/// Fields of a form or a query, at most.
const FIELDS_MAX: usize = 1_000;

/// What holds the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// A body in JSON.
    Json,
    /// A body as `application/x-www-form-urlencoded`.
    Form,
    /// The query of the URL; the request is a GET.
    Query,
}

impl BodyKind {
    /// What is read, as a media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form | Self::Query => "application/x-www-form-urlencoded",
        }
    }
}

pub type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The fields of a form or a query (WHATWG, URL §5.1). Bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// There are too many.
pub fn fields(encoded: &[u8]) -> Result<Fields<'_>, Lost> {
    let fields: Fields<'_> = form_urlencoded::parse(encoded).take(FIELDS_MAX + 1).collect();
    if fields.len() > FIELDS_MAX { Err(Lost::TooMuch) } else { Ok(fields) }
}
