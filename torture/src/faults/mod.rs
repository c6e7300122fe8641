//! The faults. Each makes a Telex of its own, lets it run under load, breaks it, and says how the break was
//! seen; what must hold is the checker's to say.

mod commit;
mod database;
mod failover;
mod freeze;
mod kill;
mod poison;
mod scale;
mod topic;
mod truncation;

use anyhow::Result;
use dev_env::{install::Installation, kafka::Kafka, postgres::Postgres, programs::PARTITIONS};

use crate::{
    verdict::Outcome,
    wire::kafka::Cluster,
    world::{Options, World},
};

/// The servers that most faults share, and what runs are made with.
pub struct Stage {
    /// The programs of the servers.
    pub installation: Installation,
    /// Kafka.
    pub kafka: Kafka,
    /// PostgreSQL.
    pub postgres: Postgres,
    /// What runs are made with.
    pub options: Options,
}

impl Stage {
    /// A Telex on the shared servers.
    ///
    /// # Errors
    /// Something does not start.
    pub fn world(&self, name: &str) -> Result<World> {
        let replicas = vec![vec![1]; usize::try_from(PARTITIONS)?];
        let cluster = Cluster::of(self.kafka.address());
        World::new(name, &self.options, cluster, &replicas, self.postgres.address())
    }
}

/// A fault.
pub struct Fault {
    /// Its number.
    pub id: &'static str,
    /// What happens.
    pub what: &'static str,
    /// Makes it happen.
    pub run: fn(&mut Stage) -> Result<Outcome>,
}

/// Those of the quick tier, in the order in which they run.
pub static QUICK: [Fault; 17] = [
    Fault { id: "F1", what: "processors killed at each of the 12 failpoints", run: kill::at_every_failpoint },
    Fault { id: "F2a", what: "a processor frozen with row locks in its hands", run: freeze::with_locks },
    Fault { id: "F2b", what: "a processor frozen with records in its hands", run: freeze::with_records },
    Fault { id: "F3", what: "the API killed with requests in flight", run: kill::api },
    Fault { id: "F13", what: "COMMIT lost on its way", run: commit::before_the_server },
    Fault { id: "F14", what: "the answer to COMMIT lost", run: commit::after_the_server },
    Fault { id: "F16", what: "connections terminated every 2 s", run: database::terminated },
    Fault { id: "F17", what: "PostgreSQL killed and started again", run: database::killed },
    Fault { id: "F18", what: "failover to a standby that lost its tail", run: failover::with_a_lost_tail },
    Fault { id: "F24", what: "row locks of a stranger", run: database::locked },
    Fault { id: "F25a", what: "topic created again, shorter", run: topic::created_again_shorter },
    Fault { id: "F25b", what: "topic created again, longer", run: topic::created_again_longer },
    Fault { id: "F26", what: "records removed before they were applied", run: topic::overrun },
    Fault { id: "F27", what: "log truncated by an unclean election", run: truncation::unclean_election },
    Fault { id: "F28", what: "partitions added under load", run: scale::partitions_added },
    Fault { id: "F31", what: "rolling restarts, processors 1, 3, 6, 1", run: scale::rolling_restarts },
    Fault { id: "F32", what: "poison in the topic", run: poison::in_the_topic },
];

/// The planted bugs, by their numbers in the processor's `planted` module, each with a fault that must bring
/// it to light.
pub static MUTANTS: [(&str, Fault); 8] = [
    ("M3", Fault { id: "F1", what: "killed around COMMIT", run: kill::around_the_commit }),
    ("M4", Fault { id: "F2b", what: "frozen with records", run: freeze::with_records }),
    ("M5", Fault { id: "F14", what: "the answer to COMMIT lost", run: commit::after_the_server }),
    ("M7", Fault { id: "F25b", what: "topic created again, longer", run: topic::created_again_longer }),
    ("M8", Fault { id: "F1", what: "killed around COMMIT", run: kill::around_the_commit }),
    ("M10", Fault { id: "F18", what: "failover with a lost tail", run: failover::with_a_lost_tail }),
    ("M13", Fault { id: "F24", what: "row locks of a stranger", run: database::locked }),
    ("M14", Fault { id: "F18", what: "failover with a lost tail", run: failover::with_a_lost_tail }),
];
