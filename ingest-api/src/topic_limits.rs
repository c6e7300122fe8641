//! How large a batch of records may be, as the topic says now. A batch that is larger than the topic's
//! `max.message.bytes` is refused whole, each record of it with the same error, however small it is: so batches are
//! kept below the limit, also when somebody lowers it while this runs. Deciding is here; [`crate::publish`] asks
//! and acts.

use rdkafka::admin::ConfigResource;

/// The largest batch, whatever the topic takes: beyond it a batch saves nothing.
pub const RECORD_BATCH_BYTES_MAX: u32 = 1_000_000;
/// A batch below that has one record anyway.
const RECORD_BATCH_BYTES_MIN: u32 = 1_024;
/// What a record has besides the body of its message: key, headers, canonical field names.
const RECORD_OVERHEAD: u32 = 2_048;

/// The topic's settings that matter to who writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// `max.message.bytes`: of a batch, as it is sent.
    pub max_message_bytes: Option<u32>,
    /// `compression.type`.
    pub compression_type: String,
}

impl TopicSettings {
    /// Out of the brokers' answer.
    pub fn of(resource: &ConfigResource) -> Self {
        let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        Self {
            max_message_bytes: value("max.message.bytes").parse().ok(),
            compression_type: value("compression.type"),
        }
    }

    /// What a person should know of them: nothing is at risk, but something is refused, or paid for twice.
    pub fn remarks(&self, body_bytes_max: u32) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(limit) = self.max_message_bytes
            && limit < body_bytes_max.saturating_add(RECORD_OVERHEAD)
        {
            remarks.push(format!(
                "max.message.bytes is {limit}: messages that --body-bytes-max ({body_bytes_max}) allows may be \
                 refused with record_too_large"
            ));
        }
        if !matches!(self.compression_type.as_str(), "producer" | "lz4") {
            remarks.push(format!(
                "compression.type is {:?}: the brokers unpack each batch and compress it again; with \"producer\" \
                 they keep it as it comes, in lz4",
                self.compression_type
            ));
        }
        remarks
    }
}

/// What is believed of the topic's limit.
#[derive(Debug, Default)]
pub struct Believed {
    /// As the brokers last said.
    said: Option<u32>,
    /// Found out by trying, where what they say does not explain a refusal.
    tried: Option<u32>,
}

impl Believed {
    /// How large batches may be from now on. `in_force`: how large they may be until now. `is_refused`: whether one
    /// of these was too large. `said`: the topic's limit, if the brokers have said it.
    pub fn next(&mut self, in_force: u32, is_refused: bool, said: Option<u32>) -> u32 {
        if said.is_some() && said != self.said {
            // Changed: what was tried before says nothing any more.
            *self = Self { said, tried: None };
        }
        let is_explained = self.said.is_some_and(|limit| limit < in_force);
        if is_refused && !is_explained {
            self.tried = Some(in_force / 2);
        }
        let limits = [self.said, self.tried, Some(RECORD_BATCH_BYTES_MAX)];
        limits.into_iter().flatten().min().unwrap_or(RECORD_BATCH_BYTES_MAX).max(RECORD_BATCH_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_topics_limit_down_and_up() {
        let mut believed = Believed::default();
        assert_eq!(believed.next(RECORD_BATCH_BYTES_MAX, false, Some(1_048_588)), RECORD_BATCH_BYTES_MAX);
        assert_eq!(
            believed.next(RECORD_BATCH_BYTES_MAX, true, Some(20_000)),
            20_000,
            "the refusal is explained"
        );
        assert_eq!(believed.next(20_000, false, Some(20_000)), 20_000);
        assert_eq!(believed.next(20_000, false, None), 20_000, "not known for a moment");
        assert_eq!(believed.next(20_000, false, Some(500_000)), 500_000);
    }

    #[test]
    fn where_the_limit_is_not_said_or_not_true_a_refusal_halves_the_batches() {
        let mut unsaid = Believed::default();
        assert_eq!(unsaid.next(1_000_000, true, None), 500_000);
        assert_eq!(unsaid.next(500_000, true, None), 250_000);
        assert_eq!(unsaid.next(250_000, false, None), 250_000);
        assert_eq!(unsaid.next(1_024, true, None), RECORD_BATCH_BYTES_MIN);
        let mut untrue = Believed::default();
        assert_eq!(untrue.next(1_000_000, true, Some(1_048_588)), 500_000);
        assert_eq!(untrue.next(500_000, false, Some(1_048_588)), 500_000, "it stays so");
        assert_eq!(untrue.next(500_000, false, Some(800_000)), 800_000, "until somebody changes it");
    }

    #[test]
    fn settings_that_refuse_messages_or_cost_the_brokers_are_named() {
        let settings = |limit: u32, compression: &str| TopicSettings {
            max_message_bytes: Some(limit),
            compression_type: compression.to_owned(),
        };
        assert_eq!(settings(1_048_588, "producer").remarks(65_536), Vec::<String>::new());
        assert_eq!(settings(1_048_588, "lz4").remarks(65_536), Vec::<String>::new());
        let remarks = settings(20_000, "zstd").remarks(65_536);
        assert_eq!(remarks.len(), 2);
        assert!(remarks[0].contains("20000") && remarks[1].contains("zstd"), "{remarks:?}");
    }
}
