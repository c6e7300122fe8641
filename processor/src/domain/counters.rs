//! What became of the offsets of a partition, counted in the transaction that applies them.

/// What became of the records of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub messages: i64,
    pub duplicates: i64,
    pub commands: i64,
    /// Records kept as dead letters.
    pub dead_letters: i64,
    /// Offsets that hold nothing to apply: markers of Kafka's transactions, records of aborted ones.
    pub control: i64,
}

/// Adds counts field by field. With a field that is not named it does not compile.
macro_rules! adds_up {
    ($counts:ident { $($field:ident),+ }) => {
        impl std::ops::AddAssign for $counts {
            fn add_assign(&mut self, more: Self) {
                let Self { $($field),+ } = more;
                $(self.$field += $field;)+
            }
        }
    };
}

pub(crate) use adds_up;

adds_up!(Counters { messages, duplicates, commands, dead_letters, control });

impl Counters {
    pub const fn total(&self) -> i64 {
        self.messages + self.duplicates + self.commands + self.dead_letters + self.control
    }
}
