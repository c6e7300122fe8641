//! What can happen next, and by whom.

use processor::{
    consume::{
        attempt::Ended,
        rounds::{Round, Seen, Subject},
        tickets::Ticket,
    },
    store::halts::{Halt, Recorded},
};
use schemas::Partition;

use crate::{attempt::Attempt, node::Process, takeover::Taking};

/// What happens next. What a process does waits while it is frozen, and does not happen once it is gone.
#[derive(Debug)]
pub enum What {
    Append,
    Replicate,
    Fault,
    Heal,
    /// Whether all is over.
    LookForEnd,
    /// The end of a session with a group.
    Evict(Process),
    Start(usize),
    Lead(usize),
    ComeUp,
    Turn(Process),
    Tick(Process),
    Takeover(Process, Taking),
    Record(Process, Ticket, Halt),
    Recorded(Process, Ticket, Partition, Recorded),
    Look(Process, Round, Subject),
    Seen(Process, Seen),
    Send(Process, Attempt),
    Ended(Process, usize, u64, Ended),
    // On the server, whatever the process does:
    Raise(Process, Taking),
    Serve(Process, Attempt),
    Expire(u64),
}

impl What {
    /// The process that does it, if one does.
    pub const fn by(&self) -> Option<Process> {
        match self {
            Self::Turn(by)
            | Self::Tick(by)
            | Self::Takeover(by, _)
            | Self::Record(by, ..)
            | Self::Recorded(by, ..)
            | Self::Look(by, ..)
            | Self::Seen(by, _)
            | Self::Send(by, _)
            | Self::Ended(by, ..) => Some(*by),
            Self::Append
            | Self::Replicate
            | Self::Fault
            | Self::Heal
            | Self::LookForEnd
            | Self::Evict(_)
            | Self::Start(_)
            | Self::Lead(_)
            | Self::ComeUp
            | Self::Raise(..)
            | Self::Serve(..)
            | Self::Expire(_) => None,
        }
    }
}
