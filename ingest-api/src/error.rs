//! Every answer but 202: `application/problem+json` (RFC 9457) with a code that stays the same
//! forever. A 4xx means that nothing is in the topic; a 503 means "not known, send again with the same
//! id". No answer holds anything of the request but its id.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hooks::walk::Lost;
use schemas::{Invalid, InvalidReason};
use serde::Serialize;

use crate::media::{CODINGS, Media};

/// The media type of these answers.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The message breaks a rule.
    #[error("{0}")]
    Invalid(Invalid),
    /// The body is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(u32),
    /// An item of a batch is larger than a message may be.
    #[error("the item is larger than {0} bytes")]
    ItemTooLarge(u32),
    /// The record is larger than the brokers allow.
    #[error("the message is larger than the topic accepts")]
    RecordTooLarge,
    /// The body is not declared as what the route takes.
    #[error("content-type must be {}, in UTF-8", Media::list(.0))]
    UnsupportedMediaType(&'static [Media]),
    /// The body is encoded in a way that is not known.
    #[error("content-encoding must be one of {CODINGS}")]
    UnsupportedEncoding,
    /// The body is not what its coding asks for.
    #[error("the body is not what its content-encoding says")]
    BodyNotDecodable,
    /// The body says something where there is nothing to say but whom it is about.
    #[error("the body must be empty, or a JSON object with nothing but client_id")]
    BodyNotEmpty,
    /// The body is all that is signed, and does not say whom it is about.
    #[error("a signed command must name its client in the body, as in the path: {{\"client_id\": \"...\"}}")]
    ClientIdNotSigned,
    /// The body is about another client than the path.
    #[error("client_id in the body must be the one in the path")]
    ClientIdMismatch,
    /// The path holds something else than a client id.
    #[error("client_id must be a UUID in lower case with hyphens")]
    ClientIdMalformed,
    /// The body did not come in time.
    #[error("the body did not arrive within the deadline")]
    BodyTimeout,
    /// The body broke off, or its framing is wrong.
    #[error("the body could not be read to its end")]
    BodyBroken,
    /// A provider's webhook in which not even the items can be found.
    #[error("the webhook cannot be read: {0}")]
    Unreadable(Lost),
    /// The URI is too long.
    #[error("the URI is longer than 2048 bytes, or 8192 bytes for a webhook")]
    UriTooLong,
    #[error("there is nothing at this path")]
    NotFound,
    /// Another method is meant.
    #[error("the method is not allowed here")]
    MethodNotAllowed,
    /// Where the request ends can be understood in two ways.
    #[error("content-length and transfer-encoding must say unambiguously where the body ends")]
    AmbiguousLength,
    /// The head is too large.
    #[error(
        "the head has more than {} header lines or {} bytes",
        crate::heads::HEADERS_MAX,
        crate::heads::HEAD_BYTES_MAX
    )]
    HeadTooLarge,
    /// It is not known who sent the request. One text for all causes.
    #[error("the request's credentials are missing or not valid")]
    Unauthorized,
    /// The producer may not write messages of this source.
    #[error("these credentials may not write messages of this external_client_id")]
    SourceNotAllowed,
    /// The producer sends more than its rate.
    #[error("the producer's rate is exceeded: send again in {retry_after_seconds} s")]
    RateLimited {
        /// When it makes sense to try again; at least 1.
        retry_after_seconds: u64,
    },
    /// It may or may not be kept.
    #[error("{}", .0.detail())]
    Unavailable(Unavailable),
}

/// Why it is not known whether a message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Kafka did not take the record.
    Kafka,
    /// No answer of Kafka in time.
    AckTimeout,
    /// The queue to Kafka is full.
    QueueFull,
    /// Too many requests, or bytes, are in flight.
    TooManyInFlight,
    /// The connection is one too many: nothing of it is read.
    TooManyConnections,
    Draining,
}

impl Unavailable {
    /// Every reason, for the contract.
    pub const ALL: [Self; 6] = [
        Self::Kafka,
        Self::AckTimeout,
        Self::QueueFull,
        Self::TooManyInFlight,
        Self::TooManyConnections,
        Self::Draining,
    ];

    const fn code(self) -> &'static str {
        match self {
            Self::Kafka => "kafka_unavailable",
            Self::AckTimeout => "ack_timeout",
            Self::QueueFull => "queue_full",
            Self::TooManyInFlight => "too_many_requests_in_flight",
            Self::TooManyConnections => "too_many_connections",
            Self::Draining => "draining",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Kafka => "kafka did not acknowledge the message: send it again with the same id",
            Self::AckTimeout => "kafka did not answer in time: send the message again with the same id",
            Self::QueueFull => "the queue to kafka is full: send the message again with the same id",
            Self::TooManyInFlight => {
                "too many requests are in flight: send the message again with the same id"
            }
            Self::TooManyConnections => {
                "too many connections are open: send the message again with the same id"
            }
            Self::Draining => "this instance is stopping: send the message again with the same id",
        }
    }

    const fn retry_after_seconds(self) -> u64 {
        match self {
            Self::Kafka | Self::AckTimeout => 5,
            Self::QueueFull | Self::TooManyInFlight | Self::TooManyConnections | Self::Draining => 1,
        }
    }
}

impl ApiError {
    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(Invalid { reason: InvalidReason::MalformedJson, .. })
            | Self::BodyBroken
            | Self::BodyNotDecodable
            | Self::Unreadable(Lost::Syntax | Lost::TooDeep | Lost::Twice)
            | Self::AmbiguousLength => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::SourceNotAllowed => StatusCode::FORBIDDEN,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Invalid(_)
            | Self::BodyNotEmpty
            | Self::ClientIdNotSigned
            | Self::ClientIdMismatch
            | Self::ClientIdMalformed => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge(_)
            | Self::ItemTooLarge(_)
            | Self::RecordTooLarge
            | Self::Unreadable(Lost::TooMuch) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable code: also the label of the metric.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.reason.as_str(),
            Self::BodyTooLarge(_) => "body_too_large",
            Self::ItemTooLarge(_) => "item_too_large",
            Self::RecordTooLarge => "record_too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::UnsupportedEncoding => "unsupported_content_encoding",
            Self::BodyNotDecodable => "body_not_decodable",
            Self::BodyNotEmpty => "body_not_empty",
            Self::ClientIdNotSigned => "client_id_not_signed",
            Self::ClientIdMismatch => "client_id_mismatch",
            Self::ClientIdMalformed => "client_id_malformed",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::Unreadable(_) => "webhook_not_readable",
            Self::UriTooLong => "uri_too_long",
            Self::AmbiguousLength => "ambiguous_length",
            Self::HeadTooLarge => "head_too_large",
            Self::Unauthorized => "unauthorized",
            Self::SourceNotAllowed => "source_not_allowed",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }

    /// When it makes sense to try again, if it does.
    pub const fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Unavailable(unavailable) => Some(unavailable.retry_after_seconds()),
            Self::RateLimited { retry_after_seconds } => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// JSON pointer of the first bad field.
    pub fn into_pointer(self) -> Option<String> {
        match self {
            Self::Invalid(invalid) => Some(invalid.pointer),
            _ => None,
        }
    }

    /// Whether the rest of the body is still on its way: then the connection cannot be used again.
    const fn closes_connection(&self) -> bool {
        matches!(
            self,
            Self::BodyTooLarge(_)
                | Self::BodyTimeout
                | Self::BodyBroken
                | Self::AmbiguousLength
                | Self::HeadTooLarge
        )
    }

    /// The answer to the request with this id. Headers that others have set on it stay.
    pub fn render(self, request_id: &str, mut headers: HeaderMap) -> Response {
        let (status, code) = (self.status(), self.code());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self == Self::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.closes_connection() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self == Self::UnsupportedEncoding {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(CODINGS));
        }
        let mut response = (status, axum::Json(&self.problem(request_id))).into_response();
        // Of the empty body that stood here.
        headers.remove(header::CONTENT_LENGTH);
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(Code(code));
        response
    }

    /// The body of the answer to the request with this id.
    pub fn problem(self, request_id: &str) -> Problem<'_> {
        let (status, code) = (self.status(), self.code());
        Problem {
            r#type: format!("urn:telex:problem:{code}"),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code,
            detail: self.to_string(),
            pointer: self.into_pointer(),
            request_id,
        }
    }
}

/// An answer without a body, which the router writes: it knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The code of an answer, for the metric.
#[derive(Debug, Clone, Copy)]
pub struct Code(pub &'static str);

/// The body of RFC 9457.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    request_id: &'a str,
}
