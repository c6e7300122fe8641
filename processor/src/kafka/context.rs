//! stub
pub struct Context; impl rdkafka::ClientContext for Context {} impl rdkafka::consumer::ConsumerContext for Context {}
