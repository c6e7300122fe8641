//! A request of a provider, as the adapter sees it.

use std::fmt;

use http::HeaderMap;

/// What the adapter looks at of a request, but for its body. Debug prints nothing: any part of it may be a secret.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub headers: &'a HeaderMap,
    /// The URL as the provider knows it, with its query.
    pub url: &'a str,
    /// The segment of the path behind the hook's name.
    pub path_secret: Option<&'a str>,
    /// Seconds since 1970.
    pub now: u64,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

impl Request<'_> {
    pub(crate) fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    pub(crate) fn query_field(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.query().as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }
}
