use hooks::walk::Lost;
use rstest::rstest;

use super::*;

#[test]
fn the_committed_document_is_what_the_code_says() {
    let committed = include_str!("../../openapi.json");
    assert!(committed == text(), "ingest-api/openapi.json differs from the code: run `make openapi`");
}

#[test]
fn the_page_of_the_api_names_every_route() {
    let page = include_str!("../../../docs/api.md");
    let document = document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let route = format!("`{} {path}`", method.to_uppercase());
            assert!(page.contains(&route), "docs/api.md does not name {route}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
                fields.values().for_each(|value| check(document, value));
            }
            Value::Array(values) => values.iter().for_each(|value| check(document, value)),
            _ => {}
        }
    }
    check(&document(), &document());
}

#[test]
fn every_error_is_told() {
    let every = [
        ApiError::Invalid(Invalid { reason: InvalidReason::Empty, pointer: String::new(), rule: "" }),
        ApiError::BodyTooLarge(0),
        ApiError::ItemTooLarge(0),
        ApiError::RecordTooLarge,
        ApiError::UnsupportedMediaType(messages::MEDIA),
        ApiError::UnsupportedEncoding,
        ApiError::BodyNotDecodable,
        ApiError::BodyNotEmpty,
        ApiError::ClientIdNotSigned,
        ApiError::ClientIdMismatch,
        ApiError::ClientIdMalformed,
        ApiError::BodyTimeout,
        ApiError::BodyBroken,
        ApiError::Unreadable(Lost::Syntax),
        ApiError::UriTooLong,
        ApiError::NotFound,
        ApiError::AmbiguousLength,
        ApiError::HeadTooLarge,
        ApiError::Unauthorized,
        ApiError::SourceNotAllowed,
        ApiError::RateLimited { retry_after_seconds: 1 },
        ApiError::Unavailable(Unavailable::Kafka),
    ];
    // No `_`: a new variant has to be thought of here, and above.
    let is_told = |error: &ApiError| match error {
        ApiError::Invalid(_)
        | ApiError::BodyTooLarge(_)
        | ApiError::ItemTooLarge(_)
        | ApiError::RecordTooLarge
        | ApiError::UnsupportedMediaType(_)
        | ApiError::UnsupportedEncoding
        | ApiError::BodyNotDecodable
        | ApiError::BodyNotEmpty
        | ApiError::ClientIdNotSigned
        | ApiError::ClientIdMismatch
        | ApiError::ClientIdMalformed
        | ApiError::BodyTimeout
        | ApiError::BodyBroken
        | ApiError::Unreadable(_)
        | ApiError::UriTooLong
        | ApiError::NotFound
        | ApiError::AmbiguousLength
        | ApiError::HeadTooLarge
        | ApiError::Unauthorized
        | ApiError::SourceNotAllowed
        | ApiError::RateLimited { .. }
        | ApiError::Unavailable(_) => text().contains(&format!("\"{}\"", error.code())),
        // The answer to what is no operation.
        ApiError::MethodNotAllowed => true,
    };
    for error in &every {
        assert!(is_told(error), "{}", error.code());
    }
    let codes = InvalidReason::ALL.map(InvalidReason::as_str);
    assert!(codes.iter().all(|code| text().contains(code)));
}

#[test]
fn the_paths_of_a_hook_differ_in_the_secret_alone() {
    let document = document();
    let both = [webhooks::PATH, webhooks::PATH_WITH_SECRET].map(|path| &document["paths"][path]);
    for method in ["post", "get"] {
        let [plain, secret] = both.map(|item| &item[method]);
        assert_eq!(plain["responses"], secret["responses"]);
        assert_eq!(plain["requestBody"], secret["requestBody"]);
        assert_ne!(plain["operationId"], secret["operationId"]);
        let names = |operation: &Value| -> Vec<String> {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            parameters.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect()
        };
        assert_eq!(
            (names(plain), names(secret)),
            (vec!["name".to_owned()], vec!["name".to_owned(), "secret".to_owned()])
        );
    }
}

#[rstest]
#[case(messages::PATH, "413", &["body_too_large", "record_too_large"])]
#[case(messages::PATH, "415", &["unsupported_content_encoding", "unsupported_media_type"])]
#[case(webhooks::PATH_WITH_SECRET, "413", &["body_too_large", "record_too_large", "webhook_not_readable"])]
#[case(messages::PATH, "503", &["ack_timeout", "draining", "kafka_unavailable", "queue_full", "too_many_connections", "too_many_requests_in_flight"])]
#[case(batch::PATH, "503", &["draining", "too_many_connections", "too_many_requests_in_flight"])]
#[case(batch::PATH, "422", &["empty", "too_long", "wrong_type"])]
#[case(dialog_close::PATH, "422", &["body_not_empty", "client_id_malformed", "client_id_mismatch", "client_id_not_signed"])]
fn the_codes_of_a_status_are_told(#[case] path: &str, #[case] status: &str, #[case] codes: &[&str]) {
    let response = &document()["paths"][path]["post"]["responses"][status];
    let schema = &response["content"][PROBLEM_JSON]["schema"];
    assert_eq!(schema["allOf"][1]["properties"]["code"]["enum"], json!(codes));
}
