//! Every answer but 202: `application/problem+json` (RFC 9457) with a code that stays the same for
//! ever. A 4xx means that nothing is in the topic; a 503 means "not known, send again with the same
//! id". No answer holds anything of the request but its id.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemas::{Invalid, InvalidReason};
use serde::Serialize;

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The message breaks a rule.
    #[error("{0}")]
    Invalid(Invalid),
    /// The body is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(u32),
    /// The record is larger than the brokers allow.
    #[error("the message is larger than the topic takes")]
    RecordTooLarge,
    /// The body is not declared as JSON in UTF-8.
    #[error("content-type must be application/json in UTF-8")]
    UnsupportedMediaType,
    /// The body is encoded.
    #[error("content-encoding is not supported")]
    UnsupportedEncoding,
    /// The body did not come in time.
    #[error("the body did not arrive within the deadline")]
    BodyTimeout,
    /// The body broke off, or its framing is wrong.
    #[error("the body could not be read to its end")]
    BodyBroken,
    /// The URI is too long.
    #[error("the URI is longer than 2048 bytes")]
    UriTooLong,
    /// No such route.
    #[error("there is nothing here")]
    NotFound,
    /// Another method is meant.
    #[error("the method is not allowed here")]
    MethodNotAllowed,
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
    /// The process stops.
    Draining,
}

impl Unavailable {
    const fn code(self) -> &'static str {
        match self {
            Self::Kafka => "kafka_unavailable",
            Self::AckTimeout => "ack_timeout",
            Self::QueueFull => "queue_full",
            Self::TooManyInFlight => "too_many_requests_in_flight",
            Self::Draining => "draining",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Kafka => "kafka did not acknowledge the message: send it again with the same id",
            Self::AckTimeout => "kafka did not answer in time: send the message again with the same id",
            Self::QueueFull => "the queue to kafka is full: send the message again with the same id",
            Self::TooManyInFlight => "too many requests are in flight: send the message again with the same id",
            Self::Draining => "this instance stops: send the message again with the same id",
        }
    }

    /// When it makes sense to try again.
    const fn retry_after_seconds(self) -> &'static str {
        match self {
            Self::Kafka | Self::AckTimeout => "5",
            Self::QueueFull | Self::TooManyInFlight | Self::Draining => "1",
        }
    }
}

impl ApiError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(Invalid { reason: InvalidReason::MalformedJson, .. }) | Self::BodyBroken => {
                StatusCode::BAD_REQUEST
            }
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge(_) | Self::RecordTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable code: also the label of the metric.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.reason.as_str(),
            Self::BodyTooLarge(_) => "body_too_large",
            Self::RecordTooLarge => "record_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnsupportedEncoding => "unsupported_content_encoding",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::UriTooLong => "uri_too_long",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }

    /// Whether the rest of the body is still on its way: then the connection cannot be used again.
    const fn closes_connection(&self) -> bool {
        matches!(self, Self::BodyTooLarge(_) | Self::BodyTimeout | Self::BodyBroken)
    }

    /// The answer to the request with this id.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response {
        let status = self.status();
        let problem = Problem {
            r#type: format!("urn:telex:problem:{}", self.code()),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code(),
            detail: self.to_string(),
            pointer: match &self {
                Self::Invalid(invalid) => Some(invalid.pointer.as_str()),
                _ => None,
            },
            request_id,
        };
        let mut response = (status, axum::Json(&problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Self::Unavailable(unavailable) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(unavailable.retry_after_seconds()));
        }
        if self.closes_connection() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Code(self.code()));
        response
    }
}

/// The code of an answer, for the metric.
#[derive(Debug, Clone, Copy)]
pub struct Code(pub &'static str);

/// The body of RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    request_id: &'a str,
}
