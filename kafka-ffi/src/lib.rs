//! What librdkafka can do and rust-rdkafka's safe API does not show, for both services. The only unsafe code of Telex;
//! each block says why it is sound.
#![expect(unsafe_code, reason = "four calls into librdkafka that the safe API lacks")]

use std::{ffi::CString, marker::PhantomData, ptr, slice, time::Duration};

use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList, bindings as rd,
    client::{Client, ClientContext},
    error::RDKafkaErrorCode,
    message::BorrowedMessage,
};
use schemas::Partition;
use uuid::Uuid;

/// A record's header: its name, and its value if it has one.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The headers of a record, names as bytes: rust-rdkafka panics on a name that is not UTF-8, and
/// such a record would end every processor that reads it.
#[derive(Clone)]
pub struct Headers<'a> {
    headers: *const rd::rd_kafka_headers_t,
    index: usize,
    message: PhantomData<&'a ()>,
}

impl<'a> Headers<'a> {
    /// The headers of `message`, borrowed from it.
    pub fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let mut headers = ptr::null_mut();
        // SAFETY: the message pointer is valid as long as `message` is borrowed; librdkafka parses the
        // headers on the first call and keeps them with the message.
        let error = unsafe { rd::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
        let absent = error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        Self { headers: if absent { ptr::null() } else { headers }, index: 0, message: PhantomData }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.headers.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` belongs to the borrowed message. librdkafka answers with a C string and
        // `size` bytes that live as long as the message, or with an error past the last header.
        unsafe {
            let error = rd::rd_kafka_header_get_all(
                self.headers,
                self.index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            self.index += 1;
            let name = std::ffi::CStr::from_ptr(name).to_bytes();
            let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), size));
            Some((name, value))
        }
    }
}

/// Why the brokers did not describe a topic.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// The topic's name cannot be asked for.
    #[error("the topic's name holds a NUL")]
    Name,
    /// No answer, or a broker's error.
    #[error("the brokers did not describe the topic: {0}")]
    Broker(String),
    #[error("the topic does not exist")]
    Absent,
    /// This client's user may know nothing of it, not even whether it exists.
    #[error("the brokers do not let this user describe the topic")]
    Forbidden,
}

/// What a person's command does to the topic, by the names of Kafka's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Alter,
    Write,
}

impl Operation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alter => "Alter",
            Self::Write => "Write",
        }
    }

    const fn of(code: u32) -> Option<Self> {
        const ALTER: u32 = rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALTER as u32;
        const WRITE: u32 = rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE as u32;
        match code {
            ALTER => Some(Self::Alter),
            WRITE => Some(Self::Write),
            _ => None,
        }
    }
}

/// Asks the brokers for a topic's id (`DescribeTopics`, KIP-516): the name of a topic that was
/// deleted and created again is the same, its id is not. Blocks for `timeout` and a second at most.
pub fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Uuid, DescribeError> {
    describe(client, topic, timeout, false, described_id)
}

/// Asks the brokers which of `wanted` this client's user may not do with a topic (KIP-430): none where nobody's rights are
/// looked at, and none where the brokers do not tell, so that the operation itself finds out. Blocks for `timeout` and a
/// second at most.
///
/// # Errors
/// There is no such topic, or no answer.
pub fn lacking_operations<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    wanted: &[Operation],
    timeout: Duration,
) -> Result<Vec<Operation>, DescribeError> {
    let allowed = match describe(client, topic, timeout, true, described_operations) {
        // Who may do anything with a topic may describe it.
        Err(DescribeError::Forbidden) => Some(Vec::new()),
        allowed => allowed?,
    };
    Ok(match allowed {
        Some(allowed) => wanted.iter().copied().filter(|operation| !allowed.contains(operation)).collect(),
        None => Vec::new(),
    })
}

/// Reads what is wanted of the description that it is given, valid during the call.
type ReadDescription<T> = unsafe fn(*const rd::rd_kafka_TopicDescription_t) -> Result<T, DescribeError>;

fn describe<C: ClientContext, T>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
    with_operations: bool,
    read: ReadDescription<T>,
) -> Result<T, DescribeError> {
    let name = CString::new(topic).map_err(|_| DescribeError::Name)?;
    let mut names = [name.as_ptr()];
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: every object is made here, checked for null where librdkafka may fail, passed only to the
    // functions that its type is for, and destroyed once, in this function; `names` outlives the call
    // that copies it; what a result points to is read before the result's event is destroyed. The error that an option
    // may answer with is destroyed, which is allowed for null as well.
    unsafe {
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = rd::rd_kafka_AdminOptions_new(
            client.native_ptr(),
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let error =
            rd::rd_kafka_AdminOptions_set_include_authorized_operations(options, with_operations.into());
        rd::rd_kafka_error_destroy(error);
        let queue = rd::rd_kafka_queue_new(client.native_ptr());
        rd::rd_kafka_DescribeTopics(client.native_ptr(), topics, options, queue);
        // A second more than the request's own deadline, which then answers with an error.
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        let answer = if event.is_null() {
            Err(DescribeError::Broker("no answer within the deadline".to_owned()))
        } else {
            let answer = described(event).and_then(|description| read(description));
            rd::rd_kafka_event_destroy(event);
            answer
        };
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// Which end of a log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEdge {
    Start,
    /// The place of the next record that a reader of committed records would get.
    End,
}

/// An edge of each partition's log, or why the partition did not answer; absent without any answer.
pub type LogEdges = Vec<(Partition, Result<i64, RDKafkaErrorCode>)>;

/// Asks for an edge of several logs at once (`ListOffsets`): one request to each leader, and an error for
/// each partition, so that one without a leader does not hide the others. Blocks for `timeout` and a second at
/// most.
///
/// # Errors
/// Nothing was answered at all.
pub fn log_edges<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partitions: &[Partition],
    edge: LogEdge,
    timeout: Duration,
) -> Result<LogEdges, RDKafkaErrorCode> {
    let mut asked = TopicPartitionList::new();
    let place = match edge {
        LogEdge::Start => KafkaOffset::Beginning,
        LogEdge::End => KafkaOffset::End,
    };
    for partition in partitions {
        // The two places are valid in any list.
        let _never = asked.add_partition_offset(topic, partition.0, place).is_err();
    }
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: as in `topic_id`; librdkafka copies the list, which outlives the call. The error that an option may
    // answer with is destroyed, which is allowed for null as well.
    unsafe {
        let options = rd::rd_kafka_AdminOptions_new(
            client.native_ptr(),
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        );
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let committed = rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
        let error = rd::rd_kafka_AdminOptions_set_isolation_level(options, committed);
        if !error.is_null() {
            rd::rd_kafka_error_destroy(error);
        }
        let queue = rd::rd_kafka_queue_new(client.native_ptr());
        rd::rd_kafka_ListOffsets(client.native_ptr(), asked.ptr(), options, queue);
        // A second more than the request's own deadline, which then answers with an error.
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        let edges = if event.is_null() {
            Err(RDKafkaErrorCode::OperationTimedOut)
        } else {
            let edges = listed(event);
            rd::rd_kafka_event_destroy(event);
            edges
        };
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        edges
    }
}

/// Reads the answer of `ListOffsets`.
///
/// # Safety
/// `event` is a valid event and stays so during the call.
unsafe fn listed(event: *mut rd::rd_kafka_event_t) -> Result<LogEdges, RDKafkaErrorCode> {
    let none = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    // SAFETY: the caller's promise; each pointer below belongs to the event, and the array has `count` elements.
    unsafe {
        let error = rd::rd_kafka_event_error(event);
        if error != none {
            return Err(error.into());
        }
        let result = rd::rd_kafka_event_ListOffsets_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::InvalidType);
        }
        let mut count = 0;
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let infos = if infos.is_null() { &[] } else { slice::from_raw_parts(infos, count) };
        let edges = infos.iter().filter_map(|info| {
            let place = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref()?;
            let partition = Partition(place.partition);
            match (place.err == none, place.offset) {
                (true, offset @ 0..) => Some((partition, Ok(offset))),
                // The leader did not answer in time.
                (true, _) => None,
                (false, _) => Some((partition, Err(place.err.into()))),
            }
        });
        Ok(edges.collect())
    }
}

/// Makes a client fail for good, as a fault of its broker would: for tests.
#[cfg(feature = "faults")]
pub fn raise_fatal_error<C: ClientContext>(client: &Client<C>) {
    let code = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID;
    // SAFETY: the client is valid as long as it is borrowed; librdkafka copies the reason.
    unsafe { rd::rd_kafka_test_fatal_error(client.native_ptr(), code, c"raised by a test".as_ptr()) };
}

/// The answer of `DescribeTopics` for one topic; it belongs to the event.
///
/// # Safety
/// `event` is a valid event and stays so during the call.
unsafe fn described(
    event: *mut rd::rd_kafka_event_t,
) -> Result<*const rd::rd_kafka_TopicDescription_t, DescribeError> {
    // SAFETY: the caller's promise; each pointer below belongs to the event and is checked for null
    // before it is read.
    unsafe {
        if rd::rd_kafka_event_error(event) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let text = rd::rd_kafka_event_error_string(event);
            return Err(DescribeError::Broker(std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()));
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(DescribeError::Broker("an answer of another kind".to_owned()));
        }
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 {
            return Err(DescribeError::Absent);
        }
        let topic = *topics;
        let error = rd::rd_kafka_TopicDescription_error(topic);
        if error.is_null() {
            return Ok(topic);
        }
        match rd::rd_kafka_error_code(error) {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(topic),
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => {
                Err(DescribeError::Forbidden)
            }
            _ => Err(DescribeError::Absent),
        }
    }
}

/// # Safety
/// `topic` is a description and stays valid during the call.
unsafe fn described_id(topic: *const rd::rd_kafka_TopicDescription_t) -> Result<Uuid, DescribeError> {
    // SAFETY: the caller's promise; the id belongs to the description and is checked for null before it is read.
    unsafe {
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Err(DescribeError::Absent);
        }
        let bits = |half: i64| u64::from_ne_bytes(half.to_ne_bytes());
        Ok(Uuid::from_u64_pair(
            bits(rd::rd_kafka_Uuid_most_significant_bits(id)),
            bits(rd::rd_kafka_Uuid_least_significant_bits(id)),
        ))
    }
}

/// # Safety
/// `topic` is a description and stays valid during the call.
unsafe fn described_operations(
    topic: *const rd::rd_kafka_TopicDescription_t,
) -> Result<Option<Vec<Operation>>, DescribeError> {
    // SAFETY: the caller's promise; the array belongs to the description and has `count` elements. They are read as the
    // numbers that they are: a value that the enum does not have would be no enum.
    unsafe {
        let mut count = 0;
        let codes = rd::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        if codes.is_null() {
            return Ok(None);
        }
        let codes = slice::from_raw_parts(codes.cast::<u32>(), count);
        Ok(Some(codes.iter().filter_map(|code| Operation::of(*code)).collect()))
    }
}
