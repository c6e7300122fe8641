//! The ingest API's metrics. The doc comment of each is its HELP text.

use service_kit::metrics_macro::SECONDS;

service_kit::metrics! {
    /// Every metric of an ingest API.
    pub struct Metrics {
        /// Requests answered, by route, status and code; the code of a 202 is `accepted`.
        ingest_requests_total: IntCounterVec = &["route", "status", "code"],
        /// Time from a request's head to its answer.
        ingest_request_seconds: Histogram = SECONDS,
        /// Time from a record's entry into the queue to Kafka's acknowledgement.
        ingest_ack_seconds: Histogram = SECONDS,
        /// Bytes of bodies that were read.
        ingest_body_bytes_total: IntCounter = (),
        /// Requests between their head and Kafka's answer.
        ingest_requests_in_flight: IntGauge = (),
        /// Bytes of bodies in flight.
        ingest_bytes_in_flight: IntGauge = (),
        /// Open connections.
        ingest_connections: IntGauge = (),
        /// Connections refused because there were too many.
        ingest_connections_refused_total: IntCounter = (),
        /// Records in the queue to Kafka.
        ingest_queue_records: IntGauge = (),
        /// Records that Kafka did not take, by error.
        ingest_delivery_failures_total: IntCounterVec = &["error"],
        /// Records that Kafka took after their sender had gone: kept, and not an error.
        ingest_acked_unanswered_total: IntCounter = (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_a_contract_with_dashboards_and_alerts() {
        assert_eq!(Metrics::NAMES.join("\n") + "\n", include_str!("../tests/fixtures/metric_names.txt"));
        Metrics::new().unwrap();
    }
}
