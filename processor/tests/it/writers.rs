//! Writers that are not Telex, many at once, with SQL of their own: the tables refuse what must not be.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::Barrier;

use crate::harness::Telex;

const WRITERS: usize = 64;

/// What each writer tries, for each number.
const ROUNDS: usize = 40;

/// A rule that an index keeps.
struct Rule {
    index: &'static str,
    /// One row, `$1` is the number of the round and `$2` of the writer.
    insert: &'static str,
    violations: &'static str,
    /// As many rows as there must be when all writers have tried.
    rows: &'static str,
}

const RULES: [Rule; 3] = [
    Rule {
        index: "clients_external_client_id_client_phone_key",
        insert: "insert into clients values (gen_random_uuid(), 'source', '+7' || $1, now())",
        violations: "select count(*) from (select from clients group by external_client_id, client_phone having count(*) > 1) as twice",
        rows: "select count(*) from clients",
    },
    Rule {
        index: "dialogs_active_client_id_key",
        insert: "insert into dialogs values (md5($1::text)::uuid, gen_random_uuid(), now(), null, null, 1, 0, $2, null)",
        violations: "select count(*) from (select from dialogs where closed_at is null group by client_id having count(*) > 1) as two",
        rows: "select count(*) from dialogs where closed_at is null",
    },
    Rule {
        index: "messages_pkey",
        insert: "insert into messages values ($2, now(), now(), null, 0, 1, md5($1::text)::uuid, gen_random_uuid(), '', 'id', null, 'writer')",
        violations: "select count(*) from (select from messages group by client_id, external_message_id having count(*) > 1) as twice",
        rows: "select count(*) from messages",
    },
];

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    violations: i64,
    rows: i64,
    taken: usize,
    refused: usize,
}

/// All writers try every round at the same moment, in the tables of a schema.
fn contend(telex: &Telex, schema: &str, rule: &Rule) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let (taken, refused) = runtime.block_on(async {
        let barrier = Arc::new(Barrier::new(WRITERS));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (url, barrier) = (telex.programs.database_url.clone(), Arc::clone(&barrier));
            let (insert, path) = (rule.insert, format!("set search_path = {schema}"));
            writers.spawn(async move {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(path)).execute(&mut connection).await.unwrap();
                let mut taken = 0;
                for round in 0..ROUNDS {
                    barrier.wait().await;
                    let insert = insert.replace("$1", &round.to_string()).replace("$2", &writer.to_string());
                    match sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await {
                        Ok(_) => taken += 1,
                        Err(error) => {
                            let code = error.as_database_error().and_then(|answer| answer.code());
                            assert_eq!(code.as_deref(), Some("23505"), "{error}");
                        }
                    }
                }
                taken
            });
        }
        let taken: usize = writers.join_all().await.into_iter().sum();
        (taken, WRITERS * ROUNDS - taken)
    });
    let number = |query: &str| {
        telex.number(
            &query
                .replace("from clients", &format!("from {schema}.clients"))
                .replace("from dialogs", &format!("from {schema}.dialogs"))
                .replace("from messages", &format!("from {schema}.messages")),
        )
    };
    Outcome { violations: number(rule.violations), rows: number(rule.rows), taken, refused }
}

#[test]
fn sixty_four_writers_at_once_cannot_break_a_unique_rule_and_without_its_index_each_is_broken() {
    let telex = Telex::new();
    for rule in &RULES {
        let kept = contend(&telex, "public", rule);
        let once = i64::try_from(ROUNDS).unwrap();
        assert_eq!(
            kept,
            Outcome { violations: 0, rows: once, taken: ROUNDS, refused: (WRITERS - 1) * ROUNDS },
            "{}",
            rule.index
        );
        // The same against tables that lack this one index: the check must see it.
        let schema = format!("without_{}", rule.index);
        telex.execute(&format!("create schema {schema}"));
        for table in ["clients", "dialogs", "messages"] {
            telex.execute(&format!("create table {schema}.{table} (like public.{table})"));
        }
        for other in RULES.iter().filter(|other| other.index != rule.index) {
            let definition =
                telex.text(&format!("select pg_get_indexdef('public.{}'::regclass)", other.index));
            telex.execute(&definition.replace(" ON public.", &format!(" ON {schema}.")));
        }
        let broken = contend(&telex, &schema, rule);
        assert_eq!(broken.violations, once, "{}: {broken:?}", rule.index);
    }
}
