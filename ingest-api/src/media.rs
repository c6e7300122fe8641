//! What a body may be and how it may be encoded, by name.

/// What [`inflate`](crate::inflate) knows, as the value of `accept-encoding`.
pub const CODINGS: &str = "gzip, zstd";

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// One JSON document.
    Json,
    /// A JSON document a line.
    Ndjson,
}

impl Media {
    /// Its name in `content-type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Whether it goes by this name, too. `application/cloudevents+json` is none of them: it would hold the
    /// message in its `data`.
    pub fn is(self, essence: &str) -> bool {
        essence.eq_ignore_ascii_case(self.as_str())
            || matches!(self, Self::Json) && essence.eq_ignore_ascii_case("text/json")
    }

    /// Their names, for a person.
    pub fn list(these: &[Self]) -> String {
        these.iter().map(|media| media.as_str()).collect::<Vec<_>>().join(" or ")
    }
}
