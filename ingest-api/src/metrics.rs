//! The ingest API's metrics. The doc comment of each is its HELP text.

use service_kit::metrics_macro::SECONDS;

service_kit::metrics! {
    /// Every metric of an ingest API.
    pub struct Metrics {
        /// Requests answered, by route, status and code; the code of a 202 is `accepted`, of a 207
        /// `partly_accepted`, of a 200 `ok`.
        ingest_requests_total: IntCounterVec = &["route", "status", "code"],
        /// Messages of batches answered, by code.
        ingest_batch_items_total: IntCounterVec = &["code"],
        /// Messages that were changed before they were kept, by what was changed: a `lone_surrogate` in the
        /// text became U+FFFD, a `sent_at` was left out as `timestamp_out_of_range`, an alias as
        /// `address_malformed`.
        ingest_warnings_total: IntCounterVec = &["code"],
        /// Time from a request's head to its answer.
        ingest_request_seconds: Histogram = SECONDS,
        /// Lines left out of the access log: a second has only so many.
        ingest_access_lines_dropped_total: IntCounter = (),
        /// Time from a record's entry into the queue to Kafka's acknowledgement.
        ingest_ack_seconds: Histogram = SECONDS,
        /// Bytes of bodies that were read.
        ingest_body_bytes_total: IntCounter = (),
        /// Requests whose producer is known and that Kafka has not answered yet.
        ingest_requests_in_flight: IntGauge = (),
        /// Bytes of bodies in flight.
        ingest_bytes_in_flight: IntGauge = (),
        /// Signed requests whose body is being read, so that nobody knows yet who sends them.
        ingest_unproven_requests: IntGauge = (),
        /// Bytes of the bodies of signed requests whose producer is not known yet.
        ingest_unproven_bytes: IntGauge = (),
        /// Signed requests that were refused to make room for newer ones before their producer was known.
        ingest_unproven_evicted_total: IntCounter = (),
        /// Open connections.
        ingest_connections: IntGauge = (),
        /// Connections refused because there were too many.
        ingest_connections_refused_total: IntCounter = (),
        /// Connections that ended, by cause.
        ingest_connections_ended_total: IntCounterVec = &["cause"],
        /// Requests refused because it is not known who sent them, by cause.
        ingest_authentication_failures_total: IntCounterVec = &["cause"],
        /// Messages of each producer, by what became of them.
        ingest_producer_messages_total: IntCounterVec = &["producer", "result"],
        /// Items of providers' webhooks, by hook and by what became of them.
        ingest_hook_items_total: IntCounterVec = &["hook", "result"],
        /// Skipped items of webhooks, by hook and by the name of the skip rule in its description.
        ingest_hook_skipped_total: IntCounterVec = &["hook", "name"],
        /// Messages of webhooks that were kept without their time because it could not be read.
        ingest_hook_times_unreadable_total: IntCounterVec = &["hook"],
        /// Bytes of the bodies of each producer.
        ingest_producer_bytes_total: IntCounterVec = &["producer"],
        /// Changes of the producers file, by what became of the new version.
        ingest_producers_reloads_total: IntCounterVec = &["result"],
        /// Changes of the certificates, by what became of the new ones.
        ingest_tls_reloads_total: IntCounterVec = &["result"],
        /// Maximum bytes of several records together in one batch to Kafka: the topic's max.message.bytes, or
        /// less.
        ingest_record_batch_bytes_max: IntGauge = (),
        /// 1 if the last look at the topic found it, 0 if Kafka is away or does not let this user write. There is a look
        /// every 5 s.
        ingest_kafka_reachable: IntGauge = (),
        /// Records in the queue to Kafka.
        ingest_queue_records: IntGauge = (),
        /// Records that Kafka did not take, by error.
        ingest_delivery_failures_total: IntCounterVec = &["error"],
        /// Records that Kafka took after their producer had gone: kept, and not an error.
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

    #[test]
    fn operations_md_lists_them() {
        let document = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"));
        let table = service_kit::reference::metrics(Metrics::DESCRIPTIONS);
        service_kit::reference::check(document, "metrics of ingest-api", &table).unwrap();
    }
}
