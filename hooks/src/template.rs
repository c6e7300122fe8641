//! What a provider signs: text with parts of the request in it, such as `{timestamp}|{body}`.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use crate::decode::{Fields, fields};

/// Parts of a template, at most.
const PARTS_MAX: usize = 16;

/// A template; its parts are written in braces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// What stands there.
    Text(String),
    /// `{body}`: the body as it was sent.
    Body,
    /// `{body-sha256}`: its SHA-256, in hexadecimal digits.
    BodySha256,
    /// `{url}`: the URL as the provider knows it, with its query.
    Url,
    /// `{url-without-query}`.
    UrlWithoutQuery,
    /// `{form}`: each field's name and value, sorted by name, with nothing between them.
    Form,
    /// `{query.}`: the query's fields, sorted, as `name=value` with `&` between them, and a dot behind them; nothing
    /// without a query.
    Query,
    /// `{timestamp}`: the header that the signature's `timestamp` names.
    Timestamp,
    /// `{header:NAME}`.
    Header(String),
}

/// What the parts are taken from.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub headers: &'a HeaderMap,
    /// The URL as the provider knows it, with its query.
    pub url: &'a str,
    /// The text of the timestamp's header; empty without one.
    pub timestamp: &'a str,
    pub body: &'a [u8],
}

impl Template {
    /// Whether it holds the body in one form or another: otherwise a signature proves nothing of it.
    pub fn covers_body(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Body | Part::BodySha256 | Part::Form))
    }

    /// Whether it holds the body byte for byte.
    pub fn covers_bytes(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Body | Part::BodySha256))
    }

    /// Whether it holds the URL with its query.
    pub fn covers_url(&self) -> bool {
        self.0.contains(&Part::Url)
    }

    /// Whether it holds the URL in one form or another.
    pub fn names_url(&self) -> bool {
        self.covers_url() || self.0.contains(&Part::UrlWithoutQuery)
    }

    /// Whether it holds the timestamp.
    pub fn covers_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// The signed bytes; `None` if a header of it is missing, or a form has too many fields.
    pub fn fill(&self, parts: Parts<'_>) -> Option<Vec<u8>> {
        let mut filled = Vec::with_capacity(parts.body.len() + 256);
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Part::Body => filled.extend_from_slice(parts.body),
                Part::BodySha256 => {
                    filled.extend_from_slice(hex::encode(digest(&SHA256, parts.body)).as_bytes());
                }
                Part::Url => filled.extend_from_slice(parts.url.as_bytes()),
                Part::UrlWithoutQuery => filled.extend_from_slice(split_query(parts.url).0.as_bytes()),
                Part::Form => sorted(parts.body)?.iter().for_each(|(name, value)| {
                    filled.extend_from_slice(name.as_bytes());
                    filled.extend_from_slice(value.as_bytes());
                }),
                Part::Query => filled.extend_from_slice(query(split_query(parts.url).1)?.as_bytes()),
                Part::Timestamp => filled.extend_from_slice(parts.timestamp.as_bytes()),
                Part::Header(name) => filled.extend_from_slice(parts.headers.get(name)?.as_bytes()),
            }
        }
        Some(filled)
    }
}

fn split_query(url: &str) -> (&str, &str) {
    url.split_once('?').unwrap_or((url, ""))
}

/// The fields of a form by name and value, each pair once.
fn sorted(form: &[u8]) -> Option<Fields<'_>> {
    let mut fields = fields(form).ok()?;
    fields.sort();
    fields.dedup();
    Some(fields)
}

fn query(query: &str) -> Option<String> {
    let fields = sorted(query.as_bytes())?;
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Some(if pairs.is_empty() { String::new() } else { pairs.join("&") + "." })
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let (before, after) = rest.split_once('{').unwrap_or((rest, ""));
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            if before.len() == rest.len() {
                break;
            }
            let (name, after) = after.split_once('}').ok_or(format!("{text:?}: a brace is not closed"))?;
            parts.push(part(name)?);
            rest = after;
        }
        match parts.len() {
            1..=PARTS_MAX => Ok(Self(parts)),
            _ => Err(format!("{text:?}: a template has 1 to {PARTS_MAX} parts")),
        }
    }
}

fn part(name: &str) -> Result<Part, String> {
    Ok(match name {
        "body" => Part::Body,
        "body-sha256" => Part::BodySha256,
        "url" => Part::Url,
        "url-without-query" => Part::UrlWithoutQuery,
        "form" => Part::Form,
        "query." => Part::Query,
        "timestamp" => Part::Timestamp,
        other => match other.strip_prefix("header:") {
            Some(header) if !header.is_empty() => Part::Header(header.to_ascii_lowercase()),
            _ => return Err(format!("{{{other}}} is not a part of a request")),
        },
    })
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// From base64 with or without its padding.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let unpadded = text.trim_end_matches('=');
    let padding = "=".repeat((4 - unpadded.len() % 4) % 4);
    STANDARD.decode(format!("{unpadded}{padding}")).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn fill(template: &str, url: &str, body: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([("nonce".parse().unwrap(), "n1".parse().unwrap())]);
        let parts = Parts { headers: &headers, url, timestamp: "17", body: body.as_bytes() };
        template.parse::<Template>().unwrap().fill(parts).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[rstest]
    #[case("{timestamp}|{body}", "", "b", "17|b")]
    #[case("{body}.{header:Nonce}.{timestamp}", "", "{}", "{}.n1.17")]
    #[case("{url}{form}", "https://t/h?x=1", "b=2&a=%2B1&b=2&b=1", "https://t/h?x=1a+1b1b2")]
    #[case("{url-without-query}?{query.}{form}", "https://t/h?y=2&x=1", "a=1", "https://t/h?x=1&y=2.a1")]
    #[case("{url-without-query}?{query.}{form}", "https://t/h", "a=1", "https://t/h?a1")]
    #[case("{body-sha256}", "", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    fn a_template_is_filled_from_the_request(
        #[case] template: &str,
        #[case] url: &str,
        #[case] body: &str,
        #[case] filled: &str,
    ) {
        assert_eq!(fill(template, url, body).unwrap(), filled);
    }

    #[test]
    fn without_a_header_of_it_there_is_nothing_to_sign() {
        assert_eq!(fill("{header:absent}{body}", "", ""), None);
    }

    #[rstest]
    #[case("")]
    #[case("{body")]
    #[case("{nobody}")]
    #[case("{header:}")]
    fn another_template_is_refused(#[case] template: &str) {
        assert!(template.parse::<Template>().is_err());
    }
}
