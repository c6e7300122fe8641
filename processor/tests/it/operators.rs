//! Who typed what changed something: each such command leaves rows with the person's name and words, in the transaction
//! of what it did; a dry run leaves none.

use crate::{
    harness::Telex,
    roles::{as_role, sqlstate, with_roles},
    topic::{Writer, partition_of},
};

/// Types it, first as a dry run.
#[track_caller]
fn typed(telex: &Telex, command: &[&str]) {
    let by = ["--operator", "ada", "--note", "as agreed"];
    let rows = || telex.number("select count(*) from interventions");
    let before = rows();
    telex.say(&[command, &by, &["--dry-run"]].concat());
    assert_eq!(rows(), before, "{command:?}");
    telex.say(&[command, &by, &["--yes"]].concat());
}

#[test]
fn who_registers_grows_and_switches_sets_rules_and_replays_is_kept_with_the_reason() {
    let mut telex = Telex::new();
    typed(&telex, &["partitions", "register", "--count=12"]);
    let writer = Writer::new(&telex);
    writer.messages("client", 0..3);
    let wrong = (partition_of("client") + 1) % dev_env::programs::PARTITIONS;
    writer.message_in(wrong, "client", "astray", "Hello");
    writer.flush();
    telex.applied();
    typed(&telex, &["dialog-rules", "set", "--idle-gap=24h"]);
    typed(&telex, &["dead-letters", "replay", "--reason", "wrong_partition"]);
    telex.applied();
    typed(&telex, &["partitions", "grow", "--to=24"]);
    // Again: nothing is left to be done, and nobody has done it.
    typed(&telex, &["partitions", "grow", "--to=24"]);
    typed(&telex, &["partitions", "switch", "--to=24"]);

    let kept = |reason: &str| {
        telex.number(&format!(
            "select count(*) from interventions
             where reason = '{reason}' and operator = 'ada' and note = 'as agreed' and halt_id is null
               and from_offset = to_offset and skipped + skipped_in_log + repeated = 0"
        ))
    };
    for (reason, rows) in [
        ("topic_registered", 12),
        ("dialog_rules_set", 12),
        ("dead_letter_replayed", 1),
        ("partitions_grown", 12),
        ("partitions_switched", 24),
    ] {
        assert_eq!(kept(reason), rows, "{reason}");
    }
    let letter =
        format!("select from_offset from interventions where partition = {wrong} and reason like 'dead%'");
    assert_eq!(telex.number(&letter), 0, "the place of the letter");

    let history = telex.say(&["halts", "history"]);
    for words in [
        "24 partitions, 0 to 23: partitions_switched; by ada",
        "12 partitions, 12 to 23: partitions_grown; by ada",
        &format!("partition {wrong}: dead_letter_replayed: at 0; by ada"),
        "12 partitions, 0 to 11: topic_registered; by ada",
    ] {
        assert_eq!(history.matches(words).count(), 1, "{words}: {history}");
    }
    assert!(history.contains("as agreed\n61 shown"), "{history}");
    // Rows that move nothing are nothing that a proof has to pass over.
    telex.assert_clean();
}

#[test]
fn a_dry_run_of_migrate_says_what_is_pending_changes_nothing_and_is_refused_to_who_is_not_the_owner() {
    let (telex, migrator) = with_roles();
    let dry_run = ["migrate", "--dry-run"];
    let said = migrator.require_processor(&dry_run).unwrap();
    assert!(said.contains("0001 create progress: applied"), "{said}");
    let nothing =
        "dry run, nothing is changed: 0 migrations would be applied, and the roles would get their rights";
    assert!(said.contains(nothing), "{said}");

    let refused = telex.refuse(&dry_run);
    let lacks =
        "the role telex_processor of PostgreSQL may not create tables, and does not own _sqlx_migrations,";
    assert!(refused.contains(lacks) && !refused.contains("0001 create"), "{refused}");

    // As it is before the last of them.
    let newest = "select version from _sqlx_migrations order by version desc limit 1";
    let before = telex.number(newest);
    let forget = format!("delete from _sqlx_migrations where version = {before}");
    assert_eq!(sqlstate(&telex.programs, "telex_migrator", &forget), None);
    let said = migrator.require_processor(&dry_run).unwrap();
    assert_eq!(said.matches("would be applied").count(), 2, "{said}");
    assert!(said.contains("1 migrations would be applied"), "{said}");
    assert_ne!(telex.number(newest), before, "it is not written down as applied");

    let other = "update _sqlx_migrations set checksum = '' where version = 1";
    assert_eq!(sqlstate(&telex.programs, "telex_migrator", other), None);
    let output = as_role(&telex.programs, "telex_migrator").run_processor(&dry_run).unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("0001 create progress: differs from the one that was applied"), "{said}");
}

#[test]
fn a_dry_run_of_migrate_in_an_empty_database_makes_not_even_the_table_of_migrations() {
    let mut telex = Telex::new();
    let database = format!("{}_empty", telex.group());
    telex.execute(&format!("create database {database}"));
    let (server, _) = telex.programs.database_url.rsplit_once('/').unwrap();
    telex.programs.database_url = format!("{server}/{database}");
    let said = telex.say(&["migrate", "--dry-run"]);
    let migrations = processor::store::migrations::MIGRATOR.iter().count();
    assert!(said.contains(&format!("{migrations} migrations would be applied")), "{said}");
    assert_eq!(telex.number("select count(*) from pg_class where relname = '_sqlx_migrations'"), 0);
}
