//! What a person's command asks for before it does anything: its dry run is refused by what refuses the command, with the
//! right and the role, and the rights that it asks for are all that it takes.

use dev_env::programs::Programs;
use processor::store::rights::{self, Rights};

use crate::{
    harness::{SOON, Telex, variable, wait_for},
    roles::{as_role, sqlstate, with_roles},
    topic::{self, Writer, client_beside, partition_of},
};

/// What commands write: a dry run leaves it as it is.
const TABLES: [&str; 10] = [
    "topics",
    "partition_progress",
    "placements",
    "halts",
    "interventions",
    "dialog_rules",
    "dialog_rule_starts",
    "dead_letters",
    "proofs",
    "proved_partitions",
];

/// A Telex of three roles, and one that gets the rights that a command asks for.
pub struct Ground {
    pub telex: Telex,
    pub migrator: Programs,
    exact: Programs,
    role: String,
}

impl Ground {
    pub fn new() -> Self {
        let (telex, migrator) = with_roles();
        let role = format!("{}_exact", telex.group());
        let (_, database) = telex.programs.database_url.rsplit_once('/').unwrap();
        let create = format!(
            "create role {role} login; grant connect on database {database} to {role};
             grant usage on schema public to {role}"
        );
        assert_eq!(sqlstate(&telex.programs, &superuser(), &create), None);
        let exact = as_role(&telex.programs, &role);
        Self { telex, migrator, exact, role }
    }

    /// With messages and a letter that may be replayed, all applied.
    pub fn fill(&mut self) {
        let writer = Writer::new(&self.telex);
        writer.messages("client", 0..3);
        writer.messages(&client_beside("client"), 0..3);
        let wrong = (partition_of("client") + 1) % dev_env::programs::PARTITIONS;
        writer.message_in(wrong, "client", "astray", "Hello");
        writer.flush();
        self.telex.applied();
    }

    pub fn as_migrator(&self, statement: &str) {
        assert_eq!(sqlstate(&self.telex.programs, "telex_migrator", statement), None, "{statement}");
    }

    /// A partition stands still, for this reason.
    pub fn halt(&self, partition: i32, reason: &str) {
        self.as_migrator("delete from halts");
        self.as_migrator(&format!(
            "insert into halts (topic_ref, partition, reason, numbers, detail, owner)
             values (1, {partition}, '{reason}', '{{}}', 'as the test says', 'test')"
        ));
    }

    /// All that a command could have written.
    pub fn state(&self) -> String {
        let rows =
            TABLES.map(|name| format!("(select string_agg(t::text, ',' order by t::text) from {name} as t)"));
        let tables = self.telex.text(&format!("select md5(concat_ws(';', {}))", rows.join(", ")));
        format!("{tables}, {} records", topic::log_end(&self.telex, partition_of("client")))
    }

    fn grant(&self, wanted: &Rights) {
        let role = &self.role;
        self.as_migrator(&format!("revoke all on all tables in schema public from {role}"));
        for (table, rights) in wanted {
            self.as_migrator(&format!("grant {} on {table} to {role}", rights.join(", ")));
        }
    }

    /// A command and its dry run, by the processor's role, the migrator's, and one with no more than the rights that the
    /// command asks for. `lacks`: what the processor's role has not, if anything.
    #[track_caller]
    fn holds(&self, command: &[&str], wanted: &Rights, lacks: Option<&str>) {
        let [dry_run, real] = ["--dry-run", "--yes"].map(|word| [command, &[word]].concat());
        let before = self.state();
        match lacks {
            None => drop(self.telex.say(&dry_run)),
            Some(lacks) => {
                let expected =
                    format!("the role telex_processor of PostgreSQL lacks {lacks}; nothing was changed");
                for arguments in [&dry_run, &real] {
                    let said = self.telex.refuse(arguments);
                    assert_eq!(said.matches(&expected).count(), 1, "{arguments:?}: {said}");
                    let goes_on = ["trying again", "dry run", "nothing was written"];
                    assert!(!goes_on.iter().any(|words| said.contains(words)), "{arguments:?}: {said}");
                }
            }
        }
        self.migrator.require_processor(&dry_run).unwrap();
        assert_eq!(self.state(), before, "{dry_run:?}");
        self.grant(wanted);
        self.exact.require_processor(&real).unwrap();
        assert_ne!(self.state(), before, "{real:?}");
    }

    /// The id of the topic that is there now, as a command says it that expected another one.
    pub fn id_of_another_topic(&self) -> String {
        let mut said = String::new();
        wait_for("another id", SOON, || {
            said = self.telex.refuse(&["partitions", "show"]);
            said.contains("the topic's id is ")
        });
        let (_, rest) = said.split_once("the topic's id is ").unwrap();
        rest.split(',').next().unwrap().to_owned()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let drop_role = format!("drop owned by {0}; drop role {0}", self.role);
        let left = sqlstate(&self.telex.programs, &superuser(), &drop_role);
        assert!(left.is_none() || std::thread::panicking(), "{left:?}");
    }
}

/// Who made the server of the tests.
fn superuser() -> String {
    let url = variable("TELEX_TEST_DATABASE_URL");
    url.strip_prefix("postgres://").unwrap().split_once('@').unwrap().0.to_owned()
}

#[test]
fn each_changing_command_says_which_right_is_missing_before_anything_else_and_takes_no_more_than_it_asks_for()
{
    let mut ground = Ground::new();
    // The first processor registers a topic, and its role may; not what says who did it.
    let audit = Some("INSERT on interventions");
    ground.holds(&["partitions", "register", "--count=12"], rights::REGISTER, audit);
    ground.fill();

    ground.holds(&["prove", "--baseline"], rights::BASELINE, None);

    let rules = ["dialog-rules", "set", "--idle-gap=24h"];
    let lacks = "INSERT on dialog_rules, INSERT on interventions";
    ground.holds(&rules, rights::SET_RULES, Some(lacks));

    let place = |partition: i32| {
        let next_offset = ground.telex.next_offset(partition).to_string();
        let partition = partition.to_string();
        ["--partition", &partition, "--from", &next_offset, "--to", &next_offset].map(str::to_owned)
    };
    let beside = place(partition_of(&client_beside("client")));
    let set = [&["progress", "set"][..], &beside.each_ref().map(String::as_str)].concat();
    ground.holds(&set, rights::SET_PROGRESS, audit);

    ground.halt(partition_of("client"), "not_conserved");
    let halted = place(partition_of("client"));
    let resume = ["halts", "resume", "--reason-code", "not_conserved"];
    let resume = [&resume[..], &halted.each_ref().map(String::as_str)].concat();
    ground.holds(&resume, rights::RESUME, Some("UPDATE on halts, INSERT on interventions"));

    // A processor replaces a letter whose place is applied again.
    let replay = ["dead-letters", "replay", "--reason", "wrong_partition"];
    ground.holds(&replay, rights::REPLAY, audit);
    ground.telex.applied();

    ground.holds(&["partitions", "grow", "--to=24"], rights::GROW, audit);
    let lacks = "INSERT on placements, UPDATE on halts, INSERT on interventions";
    ground.holds(&["partitions", "switch", "--to=24"], rights::SWITCH, Some(lacks));

    topic::recreate(&ground.telex);
    let id = ground.id_of_another_topic();
    let accept = ["halts", "resume", "--reason-code", "topic_recreated", "--topic-id", &id];
    let lacks = "INSERT on dialog_rules, UPDATE on halts, INSERT on interventions";
    ground.holds(&accept, rights::ACCEPT, Some(lacks));
}

#[test]
fn the_brokers_are_asked_by_a_dry_run_of_grow_and_make_no_partition() {
    let mut ground = Ground::new();
    ground.fill();
    ground.migrator.require_processor(&["partitions", "grow", "--to=24", "--dry-run"]).unwrap();
    let shown = ground.telex.say(&["partitions", "show"]);
    assert!(shown.contains("over 12 of 12 partitions"), "{shown}");
}
