//! Spans of distributed traces, sent to an OpenTelemetry collector (OTLP over HTTP) if one is configured.
//!
//! The sender of a request decides whether it is traced: a `traceparent` whose sampled flag is set (W3C Trace
//! Context, level 1) continues as a span here, and goes on in the record. Everything else costs nothing.
//! Spans wait in a bounded queue for a thread of its own; what does not fit is dropped and never waited for.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
        TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

/// How long a collector may take for a batch of spans.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the last spans may take when the process stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Where spans go.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SpanConfig {
    /// The OpenTelemetry collector that receives the spans of sampled traces, as `http://host:4318`. Without it there are no spans.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = parse_endpoint)]
    pub otlp_endpoint: Option<String>,
}

/// A collector stands beside the process or in its cluster and forwards over TLS: here it is plain HTTP.
fn parse_endpoint(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) {
        Some(authority) if !authority.is_empty() && !authority.contains(['@', ' ']) => {
            Ok(format!("http://{authority}"))
        }
        _ => Err("must be http://host:port, without credentials".to_owned()),
    }
}

/// Spans could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the span exporter could not be created: {0}")]
pub struct SpanError(#[from] opentelemetry_otlp::ExporterBuildError);

/// Makes spans, or none.
#[derive(Debug, Clone, Default)]
pub struct Spans(Option<(SdkTracerProvider, SdkTracer)>);

/// A span that has begun. It ends when it is dropped.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Spans {
    /// For the program named `service`.
    pub fn start(config: &SpanConfig, service: &'static str) -> Result<Self, SpanError> {
        let Some(endpoint) = &config.otlp_endpoint else {
            return Ok(Self(None));
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(EXPORT_DEADLINE)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_resource(Resource::builder().with_service_name(service).build())
            .build();
        let tracer = provider.tracer("telex");
        Ok(Self(Some((provider, tracer))))
    }

    /// Whether there is somebody who wants spans.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the span of a request, at `since` after the epoch, below the span that `trace_parent` names;
    /// none if that trace is not sampled.
    pub fn serve(
        &self,
        trace_parent: &str,
        name: impl Into<Cow<'static, str>>,
        since: Duration,
    ) -> Option<Span> {
        self.begin(trace_parent, SpanBuilder::from_name(name).with_kind(SpanKind::Server), since)
    }

    /// Begins the span of a record that was consumed, likewise.
    pub fn consume(&self, trace_parent: &str, name: &'static str, since: Duration) -> Option<Span> {
        self.begin(trace_parent, SpanBuilder::from_name(name).with_kind(SpanKind::Consumer), since)
    }

    fn begin(&self, trace_parent: &str, builder: SpanBuilder, since: Duration) -> Option<Span> {
        let (_, tracer) = self.0.as_ref()?;
        let parent = parse(trace_parent).filter(SpanContext::is_sampled)?;
        let context = Context::new().with_remote_span_context(parent);
        Some(Span(tracer.build_with_context(builder.with_start_time(at(since)), &context)))
    }

    /// Sends what is left. Blocks, for two seconds at most.
    pub fn stop(&self) {
        if let Some((provider, _)) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(STOP_DEADLINE)
        {
            tracing::warn!(%error, "spans were not sent");
        }
    }
}

impl Span {
    /// The span as the parent of what follows from it.
    pub fn trace_parent(&self) -> String {
        let context = self.0.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    }

    /// Says something about the span.
    pub fn set(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Ends the span, at `until` after the epoch.
    pub fn end_at(mut self, until: Duration) {
        self.0.end_with_timestamp(at(until));
    }
}

fn at(since_epoch: Duration) -> SystemTime {
    UNIX_EPOCH + since_epoch
}

fn parse(trace_parent: &str) -> Option<SpanContext> {
    let mut parts = trace_parent.strip_prefix("00-")?.split('-');
    let trace_id = TraceId::from_hex(parts.next()?).ok()?;
    let span_id = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    let context = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
    Some(context).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn an_endpoint_is_plain_http_without_credentials() {
        assert_eq!(parse_endpoint("http://collector:4318/"), Ok("http://collector:4318".to_owned()));
        for refused in ["https://collector:4318", "collector:4318", "http://", "http://a:b@collector"] {
            assert!(parse_endpoint(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn only_a_sampled_trace_goes_on_and_it_goes_on_as_the_same_trace() {
        let config = SpanConfig { otlp_endpoint: Some("http://127.0.0.1:9".to_owned()) };
        let spans = Spans::start(&config, "test").unwrap();
        let begin = |trace_parent| spans.serve(trace_parent, "GET /", Duration::from_secs(1));
        let span = begin(SAMPLED).unwrap();
        let (trace, own) = (&SAMPLED[..36], span.trace_parent());
        assert!(own.starts_with(trace) && own.ends_with("-01") && own != SAMPLED, "{own}");
        assert!(begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").is_none());
        assert!(begin("nonsense").is_none());
        assert!(Spans::default().serve(SAMPLED, "GET /", Duration::ZERO).is_none());
    }
}
