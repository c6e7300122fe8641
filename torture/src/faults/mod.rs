//! The faults. Most happen to a Telex that goes on afterwards, the others to one of their own, since they end
//! it or change what it stands on. Each says how it was seen to bite; what must hold is the checker's to say.

mod base_backup;
mod brokers;
mod cluster;
mod commit;
mod database;
mod failover;
mod freeze;
mod kill;
mod leaderless;
mod log;
mod poison;
mod restore;
mod scale;
mod schema;
mod takeover;
mod topic;
mod truncation;
mod upgrade;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use dev_env::install::Installation;

use crate::{
    ground::Ground,
    nodes::Layout,
    variant::Variant,
    verdict::{Outcome, Strike},
    world::{Options, World},
};

/// What a fault needs to stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// A broker alone.
    Small,
    Three,
    /// Two brokers, either of which may lead without having everything.
    Pair,
}

/// How a fault is made to happen.
#[derive(Clone, Copy)]
pub enum How {
    /// To a Telex that has all it needs and is under load; it goes on afterwards.
    Heals(Needs, fn(&mut World, &mut Ground) -> Result<Strike>),
    /// To a Telex of its own.
    Own(fn(&mut Stage) -> Result<Outcome>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In the quick tier alone: the long run has it in another form.
    Quick,
    /// In the long run alone.
    Long,
    Both,
    /// In the quick tier, where there are programs of a former commit.
    Former,
}

impl Tier {
    /// Whether the quick tier has it, with former programs or without.
    pub const fn is_quick(self, has_former: bool) -> bool {
        match self {
            Self::Quick | Self::Both => true,
            Self::Former => has_former,
            Self::Long => false,
        }
    }

    /// Whether the long run has it.
    pub const fn is_long(self) -> bool {
        matches!(self, Self::Long | Self::Both)
    }
}

pub struct Fault {
    pub id: &'static str,
    pub what: &'static str,
    pub tier: Tier,
    /// How the messages come, where it runs alone.
    pub variant: Variant,
    pub how: How,
}

/// The servers that faults share, started when one needs them, and what runs are made with.
pub struct Stage {
    pub installation: Installation,
    /// Where the servers' logs and data go.
    pub directory: PathBuf,
    pub options: Options,
    grounds: BTreeMap<Needs, Ground>,
}

impl Stage {
    pub const fn new(installation: Installation, directory: PathBuf, options: Options) -> Self {
        Self { installation, directory, options, grounds: BTreeMap::new() }
    }

    /// The servers that a fault needs.
    pub fn ground(&mut self, needs: Needs) -> Result<&mut Ground> {
        let place = match self.grounds.entry(needs) {
            Entry::Occupied(ground) => return Ok(ground.into_mut()),
            Entry::Vacant(place) => place,
        };
        let directory = self.directory.join(format!("{needs:?}").to_lowercase());
        Ok(place.insert(match needs {
            Needs::Small => Ground::small(&self.installation, &directory)?,
            Needs::Three => Ground::of_nodes(&self.installation, &directory, Layout::Three)?,
            Needs::Pair => Ground::of_nodes(&self.installation, &directory, Layout::Pair)?,
        }))
    }

    /// A Telex on a broker of its own, with an API and without a processor.
    pub fn world(&mut self, name: &str) -> Result<World> {
        let options = self.options.clone();
        World::new(name, &options, &self.ground(Needs::Small)?.site())
    }

    pub fn end(&mut self) {
        self.grounds.clear();
    }

    pub fn run(&mut self, fault: &Fault) -> Result<Outcome> {
        self.options.variant = fault.variant;
        match fault.how {
            How::Own(run) => run(self),
            How::Heals(needs, run) => {
                let options = self.options.clone();
                let ground = self.ground(needs)?;
                let mut world = ground.telex(fault.id, &options)?;
                let mut strike = run(&mut world, ground)?;
                world.recover(&mut strike)?;
                world.finish(strike)
            }
        }
    }
}

const fn heals(
    (id, what): (&'static str, &'static str),
    tier: Tier,
    needs: Needs,
    run: fn(&mut World, &mut Ground) -> Result<Strike>,
) -> Fault {
    Fault { id, what, tier, variant: Variant::Single, how: How::Heals(needs, run) }
}

const fn own(
    (id, what): (&'static str, &'static str),
    tier: Tier,
    run: fn(&mut Stage) -> Result<Outcome>,
) -> Fault {
    Fault { id, what, tier, variant: Variant::Single, how: How::Own(run) }
}

const fn with(fault: Fault, variant: Variant) -> Fault {
    Fault { variant, ..fault }
}

use Needs::{Small, Three};
use Tier::{Both, Former, Long, Quick};

/// All faults, in the order in which they run.
pub static FAULTS: [Fault; 44] = [
    heals(("F1", "processors killed at each of the 12 failpoints"), Quick, Small, kill::at_every_failpoint),
    heals(("F1r", "a processor killed at one of the failpoints"), Long, Small, kill::at_a_failpoint),
    heals(("F1c", "processors killed around COMMIT"), Long, Small, kill::around_the_commit),
    heals(("F2a", "a processor frozen with row locks in its hands"), Both, Small, freeze::with_locks),
    heals(("F2b", "a processor frozen with records in its hands"), Both, Small, freeze::with_records),
    with(heals(("F3", "the API killed with requests in flight"), Both, Small, kill::api), Variant::Batches),
    heals(("F5k", "a leader killed"), Long, Three, brokers::leader_killed),
    heals(("F5t", "a leader stopped for maintenance"), Long, Three, brokers::leader_stopped),
    heals(("F6", "a leader frozen for 20 s"), Long, Three, brokers::leader_frozen),
    heals(("F7", "fewer replicas in sync than a 202 needs"), Long, Three, brokers::below_min_in_sync),
    heals(("F8", "all brokers killed at once"), Long, Three, brokers::all_killed),
    heals(("F9", "the active controller killed"), Long, Three, brokers::controller_killed),
    heals(("F10", "the network between APIs and a broker cut"), Long, Three, brokers::apis_cut_off),
    heals(("F11", "the network between processors and Kafka cut"), Long, Three, brokers::processors_cut_off),
    with(heals(("F13", "COMMIT lost on its way"), Both, Small, commit::before_the_server), Variant::Signed),
    heals(("F14", "the answer to COMMIT lost"), Both, Small, commit::after_the_server),
    heals(("F14h", "a COMMIT that hangs until it is left behind"), Long, Small, commit::hangs),
    heals(("F15", "the brokers' acknowledgements lost"), Long, Three, brokers::acknowledgements_lost),
    with(
        heals(("F16", "connections terminated every 2 s"), Both, Small, database::terminated),
        Variant::ManyClients,
    ),
    heals(("F17", "PostgreSQL killed and started again"), Both, Small, database::killed),
    heals(("F18", "failover to a standby that lost its tail"), Both, Small, failover::with_a_lost_tail),
    heals(("F18q", "the same, and nothing is sent afterwards"), Both, Small, failover::in_a_quiet_hour),
    heals(("F18s", "sessions at a standby that is behind"), Both, Small, failover::sessions_at_a_standby),
    heals(("F20", "PostgreSQL restored to a moment ago"), Both, Small, restore::to_a_moment_ago),
    heals(("F24", "row locks of a stranger"), Both, Small, database::locked),
    own(("F25a", "topic created again, shorter"), Both, topic::created_again_shorter),
    own(("F25b", "topic created again, longer"), Both, topic::created_again_longer),
    own(("F25r", "topic created again under a running processor"), Both, topic::created_again_while_running),
    own(("F26", "records removed before they were applied"), Both, topic::overrun),
    own(("F26r", "records removed under a running processor"), Long, topic::overrun_while_running),
    own(("F27", "log truncated by an unclean election"), Both, truncation::unclean_election),
    own(("F28", "partitions added under load"), Both, scale::partitions_added),
    heals(("F31", "rolling restarts, processors 1, 3, 6, 1"), Quick, Small, scale::rolling_restarts),
    heals(
        ("F31s", "a processor and an API restarted in an orderly way"),
        Long,
        Small,
        scale::orderly_restart,
    ),
    heals(("F32", "poison in the topic"), Both, Small, poison::in_the_topic),
    own(("A2", "a partition without a leader"), Both, leaderless::partition),
    heals(("A3", "takeovers that hang until their partitions are gone"), Long, Small, takeover::overtaken),
    own(("A4", "another cluster's topic of the same name"), Both, cluster::another),
    heals(("A7", "a batch that takes longer than a statement may"), Long, Small, database::slow),
    heals(("A9", "transactions, markers last in the log"), Both, Small, log::transactions),
    heals(
        ("A9q", "markers last in the log for longer than the watchdog waits"),
        Long,
        Small,
        log::markers_last,
    ),
    heals(("B1", "a batch compressed with zstd"), Both, Small, log::zstd),
    own(("B3", "a column that nobody fills"), Both, schema::slip),
    own(("U1", "programs of a former commit beside these, there and back"), Former, upgrade::there_and_back),
];

pub fn find(id: &str) -> Result<&'static Fault> {
    FAULTS.iter().find(|fault| fault.id.eq_ignore_ascii_case(id)).with_context(|| format!("no fault {id}"))
}
