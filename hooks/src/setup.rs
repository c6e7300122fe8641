//! How a provider looks whether a URL is ours, before it sends anything there: it asks with a token that was
//! agreed on and wants to see a word of its own again.

use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq as _};

use crate::request::Request;

/// The look as a description writes it: a GET whose query has these fields.
///
/// ```toml
/// verify = { token = "hub.verify_token", echo = "hub.challenge" }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The field that has to hold the token.
    pub token: String,
    /// The field whose text is answered, as plain text.
    pub echo: String,
}

/// Longer ones are not sent back.
const ECHO_BYTES_MAX: usize = 256;

impl Verify {
    /// What is answered; `None` if the token is not one of these, or nothing is asked.
    pub fn answer(&self, request: &Request<'_>, tokens: &[String]) -> Option<String> {
        let token = request.query_field(&self.token)?;
        let equal = |any, known: &String| any | known.as_bytes().ct_eq(token.as_bytes());
        let is_known: bool = tokens.iter().fold(Choice::from(0), equal).into();
        let echo = request.query_field(&self.echo)?;
        // Plain text of a stranger's making: nothing that a browser would take for more.
        let is_plain = echo.len() <= ECHO_BYTES_MAX && echo.bytes().all(|byte| byte.is_ascii_graphic());
        (is_known && is_plain).then_some(echo)
    }
}
