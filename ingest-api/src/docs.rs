//! `/openapi.json`, and `/docs`: one page that shows it to people, lets them try a request and writes it as a
//! command. Everything on it comes from here, and its policy lets the browser load nothing else.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

use crate::openapi;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi::text);

pub async fn openapi() -> Response {
    answer("application/json", &DOCUMENT)
}

pub async fn page() -> Response {
    answer("text/html; charset=utf-8", include_str!("docs/page.html"))
}

pub async fn style() -> Response {
    answer("text/css; charset=utf-8", include_str!("docs/page.css"))
}

pub async fn script() -> Response {
    answer("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

fn answer(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}
