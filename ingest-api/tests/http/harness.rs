//! An API over a publisher that remembers.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode},
};
use clap::Parser as _;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use ingest_api::{
    access_log::AccessLog,
    admission::{Admission, Admitted},
    config::Config,
    error::ApiError,
    files::Reloaded,
    metrics::Metrics,
    producers::ProducersFile,
    publish::{Acknowledgement, Delivered, Desk, Destination, Publish, Queued},
    router::{messages_accepted, router},
    state::Shared,
};
use schemas::{EncodedRecord, Partition};
use serde_json::{Value, json};
use service_kit::spans::Spans;
use tower::ServiceExt as _;

pub const MESSAGES: &str = "/v1/messages";
pub const BATCH: &str = "/v1/messages/batch";

/// What becomes of a record.
pub enum Fate {
    Kept,
    /// It does not enter the queue.
    Refused(ApiError),
    /// The brokers do not take it.
    Failed(ApiError),
    Unanswered,
}

type Decide = Box<dyn Fn(&EncodedRecord) -> Fate + Send + Sync>;

/// Remembers the records that entered its queue.
pub struct Memory {
    records: Mutex<Vec<(EncodedRecord, Partition)>>,
    quarantine: Mutex<Vec<(EncodedRecord, Partition)>>,
    desk: Arc<Desk>,
    fate: Decide,
}

impl Publish for Memory {
    fn enqueue(
        &self,
        record: EncodedRecord,
        to: Destination,
        _admitted: Option<Arc<Admitted>>,
    ) -> Result<Acknowledgement, ApiError> {
        let fate = (self.fate)(&record);
        if let Fate::Refused(error) = fate {
            return Err(error);
        }
        let (mut records, partition) = match to {
            Destination::Messages(partition) => (self.records.lock().unwrap(), partition),
            Destination::Quarantine => (self.quarantine.lock().unwrap(), Partition(0)),
        };
        let offset = i64::try_from(records.len()).unwrap();
        records.push((record, partition));
        let queued = Queued { since: Instant::now(), batch_bytes: 0, admitted: None, room: None };
        let acknowledgement = self.desk.issue(queued).unwrap();
        match fate {
            Fate::Failed(error) => self.desk.post(acknowledgement.ticket(), Err(error)),
            Fate::Unanswered => {}
            Fate::Kept | Fate::Refused(_) => {
                let delivered = Delivered { partition: partition.0, offset };
                self.desk.post(acknowledgement.ticket(), Ok(delivered));
            }
        }
        Ok(acknowledgement)
    }
}

pub struct Api {
    router: Router,
    pub shared: Arc<Shared<Memory>>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A refusal in the form of RFC 9457, which says nothing of what was sent.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id").unwrap());
        assert!(!self.text.contains("7000000") && !self.text.contains("SECRET"), "{problem}");
        assert!(self.header("server").is_none());
    }
}

impl Api {
    /// Keeps everything.
    pub fn new() -> Self {
        Self::with(&[], |_| Fate::Kept)
    }

    pub fn with(more: &[&str], fate: impl Fn(&EncodedRecord) -> Fate + Send + Sync + 'static) -> Self {
        let required = ["ingest-api", "--kafka-brokers=k", "--partition-count=12"];
        let config = Config::parse_from(required.iter().chain(more));
        let metrics = Arc::new(Metrics::new().unwrap());
        let shared = Arc::new(Shared {
            publisher: Memory {
                records: Mutex::default(),
                quarantine: Mutex::default(),
                desk: Arc::new(Desk::elsewhere(&metrics)),
                fate: Box::new(fate),
            },
            topic: "telex.messages".to_owned(),
            public_url: config.public_url.clone(),
            partition_count: config.kafka.partition_count,
            producers: config.producers_file.map(|path| {
                let file = ProducersFile::new(path, config.public_url.is_some(), Arc::clone(&metrics));
                let reloads = metrics.ingest_producers_reloads_total.clone();
                Arc::new(Reloaded::new(file, reloads).unwrap())
            }),
            admission: Admission::new(&config.limits, &metrics),
            limits: config.limits,
            access_log: AccessLog::new(config.access_log, Arc::clone(&metrics)),
            messages_accepted: messages_accepted(&metrics),
            metrics,
            spans: Spans::default(),
            draining: AtomicBool::new(false),
        });
        Self { router: router(Arc::clone(&shared)), shared }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(request(path, "application/json", body)).await
    }

    pub fn records(&self) -> Vec<(EncodedRecord, Partition)> {
        self.shared.publisher.records.lock().unwrap().clone()
    }

    /// What lies in quarantine.
    pub fn quarantine(&self) -> Vec<EncodedRecord> {
        self.shared.publisher.quarantine.lock().unwrap().iter().map(|(record, _)| record.clone()).collect()
    }

    /// Nothing entered the queue, and nothing is in flight any more.
    #[track_caller]
    pub fn assert_nothing_kept(&self) {
        assert_eq!(self.records(), []);
        assert_eq!(self.shared.metrics.ingest_requests_in_flight.get(), 0);
        assert_eq!(self.shared.metrics.ingest_bytes_in_flight.get(), 0);
    }

    /// The answer is a refusal, and nothing of its request was kept.
    #[track_caller]
    pub fn assert_refused(&self, answer: &Answer, status: u16, code: &str) {
        answer.assert_problem(status, code);
        self.assert_nothing_kept();
    }

    /// How often a route answered with a status and a code.
    pub fn answered(&self, route: &str, status: StatusCode, code: &str) -> u64 {
        let labels = [route, status.as_str(), code];
        self.shared.metrics.ingest_requests_total.with_label_values(&labels).get()
    }
}

pub fn request(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    posted(path, &[("content-type", content_type)], body)
}

/// A POST with these headers.
pub fn posted(path: &str, headers: &[(&str, impl AsRef<str>)], body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_ref()));
    request.body(body.into()).unwrap()
}

pub fn message(client: &str, id: &str) -> Value {
    json!({
        "external_client_id": client,
        "client_phone": "+7 (000) 000-00-00",
        "external_message_id": id,
        "text": "Hello",
    })
}

/// A message of one client with another value in one field.
pub fn with(field: &str, value: impl Into<Value>) -> String {
    let mut message = message("shop", "m-1");
    message[field] = value.into();
    message.to_string()
}

/// Waits for what may take a moment; a test that waits for ever tells nobody what for.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A file of one test, for as long as it is held.
pub struct Temporary(PathBuf);

impl Temporary {
    pub fn new(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let (process, test) = (std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(format!("telex-{process}-{test:?}-{name}"));
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0).is_err();
    }
}

/// A body of unknown length that comes frame by frame, and may break or never end.
#[derive(Default)]
pub struct Frames {
    pub frames: VecDeque<Result<Bytes, std::io::Error>>,
    pub never_ends: bool,
    /// How many frames were asked for.
    pub polled: Arc<AtomicUsize>,
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.polled.fetch_add(1, Ordering::Relaxed);
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame.map(Frame::data))),
            None if self.never_ends => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
