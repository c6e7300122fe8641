//! Clients without a phone, and other addresses of a client.

use schemas::record::header;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    fill,
    harness::{Telex, block_on, keep, message, post},
};

/// A message of one of a source's clients.
fn from(source: &str, address: &str, id: &str) -> Value {
    let mut said = message(source, id, "Hello");
    if address.starts_with('+') {
        said["client_phone"] = address.into();
    } else {
        said.as_object_mut().unwrap().remove("client_phone");
        said["client_address"] = address.into();
    }
    said
}

fn naming(mut said: Value, aliases: &[&str]) -> Value {
    said["aliases"] = json!(aliases);
    said
}

/// The aliases and who named them, a line each.
const NAMED: &str = "
    select coalesce(string_agg(
        client_phone || ' ' || alias || ' ' || coalesce(external_message_id, '?') || ' ' || (named_at = appended_at),
        e'\\n' order by client_phone, alias), '')
    from client_aliases join clients on clients.id = client_id
    left join messages using (client_id, topic_ref, partition, record_offset)";

#[test]
fn a_client_without_a_phone_is_filed_by_its_address_and_found_by_it() {
    let (telex, api, _processor) = Telex::at_work();
    let first = keep(&api, &from("shop", "tg:6001", "1"));
    let again = keep(&api, &from("shop", "tg:6001", "2"));
    assert_eq!(first["client_id"], again["client_id"]);
    // Another spelling is another id, another scheme and another source are other clients.
    for (source, address) in [("shop", "viber:6001"), ("shop", "tg:06001"), ("tg:6001", "tg:6001")] {
        assert_ne!(keep(&api, &from(source, address, "1"))["client_id"], first["client_id"]);
    }
    assert_eq!(
        telex.assert_clean()["rows"],
        json!({"clients": 4, "dialogs": 4, "messages": 5, "dead_letters": 0, "active_dialogs": 4, "client_aliases": 0})
    );
    assert_eq!(
        telex.number("select messages from client_overview where external_client_id = 'shop' and client_phone = 'tg:6001'"),
        2
    );
    let show = ["dialogs", "show", "--external-client-id=shop"];
    let shown = telex.say(&[&show[..], &["--client-address=tg:6001"]].concat());
    assert!(shown.contains("Hello"), "{shown}");
    telex.refuse(&[&show[..], &["--client-address=6001"]].concat());
}

#[test]
fn a_message_without_an_address_or_with_two_is_refused_and_says_where() {
    let (_telex, api) = Telex::with_api();
    let address = api.address.unwrap();
    let both = json!({"client_address": "tg:1"});
    let mut said = message("shop", "1", "Hello");
    said.as_object_mut().unwrap().extend(both.as_object().unwrap().clone());
    let (status, body) = post(address, &said);
    assert_eq!(
        (status, &body["code"], &body["pointer"]),
        (422, &json!("two_addresses"), &json!("/client_address"))
    );
    let (status, body) = post(address, &from("shop", "icq:1", "1"));
    assert_eq!((status, &body["code"]), (422, &json!("address_malformed")));
}

#[test]
fn an_alias_is_filed_with_the_first_message_that_names_it_and_what_repeats_one_names_none() {
    let (mut telex, api) = Telex::with_api();
    // All there before anybody reads: one batch. Then one message at a time.
    let send = |id: &str, aliases: &[&str]| {
        keep(&api, &naming(from("shop", "+70000000001", id), aliases));
    };
    send("1", &["wa:GB.1", "+7 000 000 00 02"]);
    send("2", &["wa:GB.1", "username:anna", "+70000000001"]);
    send("1", &["wa:GB.3"]);
    keep(&api, &from("shop", "+70000000001", "2"));
    let first =
        "+70000000001 +70000000002 1 true\n+70000000001 username:anna 2 true\n+70000000001 wa:GB.1 1 true";
    let _processor = telex.processor();
    telex.assert_counts([("/duplicates", 2), ("/rows/client_aliases", 3)]);
    assert_eq!(telex.text(NAMED), first);

    send("3", &["wa:GB.1"]);
    send("1", &["wa:GB.4"]);
    let mut reused = naming(from("shop", "+70000000001", "2"), &["wa:GB.5"]);
    reused["text"] = "another".into();
    keep(&api, &reused);
    send("4", &["wa:GB.4"]);
    let report = telex.assert_clean();
    assert_eq!(report["dead_letters"], json!({"conflicting_duplicate": 1}));
    assert_eq!(telex.text(NAMED), format!("{first}\n+70000000001 wa:GB.4 4 true"));
}

#[test]
fn a_replay_of_the_topic_names_the_same_aliases_by_the_same_records() {
    let mut telex = Telex::new();
    fill::fill(&telex, 3_000);
    telex.applied();
    let rows = "select hashtextextended(string_agg(a::text, ',' order by client_id, alias), 0) from client_aliases as a";
    let report = telex.assert_replayed(rows);
    assert!(report["rows"]["client_aliases"].as_i64().unwrap() > 100, "{report:#}");
}

#[test]
fn people_shows_who_belongs_together_and_merges_nobody() {
    let (telex, api, _processor) = Telex::at_work();
    let [phone, bsuid, new_phone] = ["+70000000001", "wa:GB.1", "+70000000002"];
    // A phone today; the id alone next month; then another phone under the same id.
    keep(&api, &naming(from("shop", phone, "1"), &[bsuid, "username:anna"]));
    keep(&api, &naming(from("shop", bsuid, "2"), &["username:anna"]));
    keep(&api, &naming(from("shop", new_phone, "3"), &[bsuid]));
    // Somebody else took the name; another business knows other ids; its clients are its own.
    keep(&api, &naming(from("shop", "wa:GB.7", "4"), &["username:anna"]));
    keep(&api, &naming(from("another shop", phone, "5"), &[bsuid]));
    telex.assert_clean();
    let links = |client: &str| {
        telex.text(&format!(
            "select coalesce(string_agg(other_client_address || ' ' || whose || ' ' || alias, e'\\n'
                    order by other_client_address, whose), '')
             from people where external_client_id = 'shop' and client_address = '{client}'"
        ))
    };
    assert_eq!(links(phone), format!("{new_phone} shared {bsuid}\n{bsuid} mine {bsuid}"));
    assert_eq!(links(bsuid), format!("{phone} theirs {bsuid}\n{new_phone} theirs {bsuid}"));
    assert_eq!(links(new_phone), format!("{phone} shared {bsuid}\n{bsuid} mine {bsuid}"));
    assert_eq!(links("wa:GB.7"), "");
    assert_eq!(telex.number("select count(*) from people where external_client_id = 'another shop'"), 0);
    assert_eq!(telex.number("select count(*) from dialogs where closed_at is null"), 5, "one a client");
    let shown = "select aliases::text from client_overview where client_address = '+70000000001'
                 and external_client_id = 'shop'";
    assert_eq!(telex.text(shown), "{username:anna,wa:GB.1}");
}

#[test]
fn people_reaches_the_rows_of_a_client_by_indexes_however_it_is_asked() {
    const ASKED: [&str; 3] = [
        "select * from people where client_id = '00000000-0000-8000-8000-000000000000'",
        "select * from people where external_client_id = 'shop' and client_address = 'tg:1'",
        "with recursive person (client_id) as (
             select '00000000-0000-8000-8000-000000000000'::uuid
             union
             select people.other_client_id from person join people on people.client_id = person.client_id
         )
         select * from dialog_messages join person using (client_id)",
    ];
    let telex = Telex::new();
    // As many as make a difference: of a few rows every way costs the same.
    telex.execute(
        "insert into clients (id, external_client_id, client_phone, created_at)
             select md5(n::text)::uuid, 'shop', 'tg:' || n, now() from generate_series(1, 20000) as n;
         insert into client_aliases (record_offset, named_at, partition, topic_ref, client_id, alias)
             select n, now(), 0, 1, md5(n::text)::uuid, 'viber:' || n / 2 from generate_series(1, 20000) as n;
         analyze clients, client_aliases",
    );
    for query in ASKED {
        let plan: String = block_on(async {
            let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
            // Messages and dialogs, which are empty here, would be read whole.
            sqlx::raw_sql("set enable_seqscan = off").execute(&mut connection).await.unwrap();
            let explain = sqlx::AssertSqlSafe(format!("explain {query}"));
            let lines: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
            lines.join("\n")
        });
        for index in [
            "client_aliases_pkey",
            "client_aliases_alias_idx",
            "clients_pkey",
            "clients_external_client_id_client_phone_key",
        ] {
            assert!(plan.contains(index), "{index}: {plan}");
        }
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

#[test]
fn a_batch_without_aliases_does_not_touch_their_table() {
    let (telex, api, mut processor) = Telex::at_work();
    processor.wait_until_ready().unwrap();
    keep(&api, &message("shop", "1", "Hello"));
    telex.wait_until_applied();
    telex.execute("alter table client_aliases rename to put_away");
    keep(&api, &message("shop", "2", "Hello"));
    keep(&api, &from("shop", "tg:1", "1"));
    telex.wait_until_applied();
    telex.execute("alter table put_away rename to client_aliases");
    telex.assert_clean();
}

/// Writes a record of version 2 as it was written yesterday, when these members were the sender's own.
fn of_version_2(telex: &Telex, said: &Value, members: &str) {
    let mut record = fill::encoded(&said.to_string());
    let event_type = record.headers.iter().find(|(name, _)| *name == header::TYPE).unwrap().1.clone();
    assert_eq!(event_type, schemas::record::MESSAGE_RECEIVED_V2);
    record.value.pop();
    record.value.extend_from_slice(members.as_bytes());
    record.value.push(b'}');
    fill::write(telex, &record);
}

#[test]
fn members_of_these_names_in_older_records_mean_nothing() {
    let with = |members: &[&str; 4]| {
        let mut telex = Telex::new();
        for (id, members) in members.iter().enumerate() {
            of_version_2(&telex, &message("yesterday", &id.to_string(), "Hello"), members);
            // Sent once more by an ingest API of today.
            of_version_2(&telex, &message("yesterday", "0", "Hello"), members);
        }
        let _processor = telex.processor();
        let report = telex.assert_clean();
        let rows = telex.text(
            "select string_agg(concat_ws(' ', client_id, client_phone, external_message_id, text, encode(body_hash, 'hex'),
                                         partition, record_offset), e'\\n' order by record_offset)
             from messages join clients on clients.id = client_id",
        );
        (rows, report["rows"].clone(), report["duplicates"].clone(), report["dead_letters"].clone())
    };
    let plain = with(&["", "", "", ""]);
    assert_eq!(plain.1["client_aliases"], 0);
    let their_own = [
        r#","client_address":{"street":"x"},"aliases":[{"a":[1e400]}]"#,
        r#","client_address":"tg:1","aliases":["wa:GB.1"]"#,
        r#","aliases":"x","aliases":7"#,
        r#","client_address":"","aliases":["a","b","c","d","e"]"#,
    ];
    assert_eq!(with(&their_own), plain);
}

#[test]
fn a_proof_finds_what_was_done_to_aliases() {
    let (telex, api, mut processor) = Telex::at_work();
    let send = |id: &str, aliases: &[&str]| {
        keep(&api, &naming(from("shop", "+70000000001", id), aliases))["record"].clone()
    };
    send("1", &["wa:GB.1"]);
    telex.assert_clean();
    let at = send("2", &["wa:GB.1", "wa:GB.2"]);
    send("3", &["wa:GB.2", "tg:3"]);
    telex.wait_until_applied();
    processor.stop().unwrap();
    let planted = [
        ("delete from client_aliases where alias = 'wa:GB.2'", "alias_missing"),
        ("update client_aliases set record_offset = 2 where alias = 'wa:GB.2'", "alias_differs"),
        ("update client_aliases set named_at = now() where alias = 'tg:3'", "alias_differs"),
        ("update client_aliases set alias = 'tg:4' where alias = 'tg:3'", "alias_unexpected"),
        (
            "insert into client_aliases select 2, named_at, partition, topic_ref, client_id, 'tg:9' from client_aliases limit 1",
            "alias_unexpected",
        ),
    ];
    // A full proof that finds something is nothing to go on from: it comes last.
    for scope in [&["--since-last"][..], &[]] {
        for (statement, kind) in planted {
            telex.execute(&format!("create table kept as table client_aliases; {statement}"));
            let report = telex.prove_with(scope);
            assert_eq!(report["verdict"], "differs", "{statement}: {report:#}");
            let mut findings = report["findings"].as_array().unwrap().iter();
            let is_it = |found: &Value| found["kind"] == kind && found["partition"] == at["partition"];
            assert!(findings.any(is_it), "{statement}: {kind}: {report:#}");
            telex.execute("truncate client_aliases; insert into client_aliases table kept; drop table kept");
        }
    }
    assert_eq!(telex.prove()["verdict"], "clean");
}
