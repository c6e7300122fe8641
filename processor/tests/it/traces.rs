//! A sampled trace goes on through the API and the topic to the transaction, and arrives at a collector.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::post};
use dev_env::ports::Port;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message as _;

use crate::harness::{Telex, block_on, keep_traced, message, wait_for};

const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const SENDER: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

#[test]
fn a_sampled_request_is_one_trace_from_the_webhook_to_the_row() {
    let collector = Collector::start();
    let mut telex = Telex::new();
    let endpoint = format!("--otlp-endpoint=http://{}", collector.address);
    let mut api = telex.ingest_api_on(Port::Free, &[&endpoint]);
    api.wait_until_ready().unwrap();
    let _processor = telex.processor_with(&[&endpoint]);
    let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let unsampled = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    keep_traced(&api, &message("tg", "m-1", "not traced"), unsampled);
    let kept = keep_traced(&api, &message("tg", "m-2", "traced"), sampled);
    telex.assert_clean();

    wait_for("both spans", Duration::from_secs(20), || collector.spans().len() >= 2);
    let spans = collector.spans();
    let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (served, applied) = (span("POST /v1/messages"), span("apply"));
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:?}");
    assert_eq!(served.parent_span_id, SENDER);
    assert_eq!(applied.parent_span_id, served.span_id);
    for span in [served, applied] {
        assert_eq!(text(span, "telex.request_id"), kept["request_id"].as_str().unwrap());
        assert_eq!(text(span, "messaging.destination.partition.id"), kept["record"]["partition"].to_string());
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
}

#[test]
fn a_collector_that_is_away_changes_nothing() {
    let mut telex = Telex::new();
    let nobody = format!("--otlp-endpoint=http://127.0.0.1:{}", Port::Free.pick().unwrap());
    let mut api = telex.ingest_api_on(Port::Free, &[&nobody]);
    api.wait_until_ready().unwrap();
    let mut processor = telex.processor_with(&[&nobody]);
    for number in 0..50 {
        let trace_parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", number + 1);
        keep_traced(&api, &message("tg", &format!("m-{number}"), "traced"), &trace_parent);
    }
    assert_eq!(telex.assert_clean()["rows"]["messages"], 50);
    api.stop().unwrap();
    processor.stop().unwrap();
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name).unwrap();
    match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{name}: {other:?}"),
    }
}

struct Collector {
    address: std::net::SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = Arc::clone(&spans);
        let take = move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            taken.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
            std::future::ready([(CONTENT_TYPE, "application/x-protobuf")])
        };
        let router = Router::new().route("/v1/traces", post(take));
        std::thread::spawn(move || {
            block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { address, spans }
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}
