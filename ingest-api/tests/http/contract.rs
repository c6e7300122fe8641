//! The contract as it is served, and the page that shows it.

use axum::{body::Body, http::Request};
use ingest_api::openapi;
use rstest::rstest;
use serde_json::Value;

use crate::harness::{Answer, Api};

async fn get(api: &Api, path: &str) -> Answer {
    api.send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_document_is_served_and_its_operations_are_the_routes() {
    let api = Api::new();
    let answer = get(&api, "/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), openapi::document());
    for (path, operations) in answer.json()["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete", "patch"] {
            let request =
                Request::builder().method(method.to_uppercase().as_str()).uri(path).body(Body::empty());
            let status = api.send(request.unwrap()).await.status;
            let declared = operations.get(method);
            assert_eq!(status != 405, declared.is_some(), "{method} {path}: {status}");
            // Without hooks, none is found.
            let is_told = |operation: &Value| operation["responses"].get("404").is_some();
            assert!(status != 404 || declared.is_some_and(is_told), "{method} {path}");
        }
    }
}

#[rstest]
#[case("/docs", "text/html; charset=utf-8")]
#[case("/docs/page.css", "text/css; charset=utf-8")]
#[case("/docs/page.js", "text/javascript; charset=utf-8")]
#[tokio::test]
async fn the_page_lets_the_browser_load_nothing_from_elsewhere(
    #[case] path: &str,
    #[case] content_type: &str,
) {
    let answer = get(&Api::new(), path).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for elsewhere in ["http://", "https://", "url(", "@import", "<style", "<script>", " style=", "onclick="] {
        assert!(!answer.text.contains(elsewhere), "{path} holds {elsewhere}");
    }
}

#[tokio::test]
async fn the_page_makes_no_markup_of_text_and_remembers_nothing() {
    let script = get(&Api::new(), "/docs/page.js").await.text;
    for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("] {
        assert!(!script.contains(markup), "{markup}");
    }
    for memory in ["localStorage", "sessionStorage", "indexedDB", "cookie"] {
        assert!(!script.contains(memory), "{memory}");
    }
}

#[tokio::test]
async fn the_page_has_a_place_for_every_operation() {
    let script = get(&Api::new(), "/docs/page.js").await.text;
    let document = openapi::document();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            // With its quotes.
            let id = operation["operationId"].to_string();
            assert!(script.contains(&id), "page.js does not name {id}");
        }
    }
}

#[tokio::test]
async fn the_page_is_small() {
    let api = Api::new();
    let mut bytes = 0;
    for path in ["/docs", "/docs/page.css", "/docs/page.js"] {
        bytes += get(&api, path).await.text.len();
    }
    assert!(bytes < 25_000, "{bytes} bytes");
}
