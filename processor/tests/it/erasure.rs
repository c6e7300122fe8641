//! A client is erased as the runbook says, by its statements: nothing of what the person wrote is left in the rows, every
//! message stays known for ever, and a proof is clean; and what the runbook says of doing it too early and of a person who
//! writes again.

use dev_env::workspace::Workspace;

use crate::{
    harness::Telex,
    topic::{Writer, client_beside, client_id, log_end, partition_of, trim},
};

/// The client of the runbook.
const EXAMPLE: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

/// The blocks of SQL in the section of the runbook, about this client.
fn statements(client: &str) -> Vec<String> {
    let root = Workspace::find().unwrap().root().to_owned();
    let runbooks = std::fs::read_to_string(root.join("docs/runbooks.md")).unwrap();
    let (_, section) = runbooks.split_once("\n### Erase a client\n").unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks = section.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.replace(EXAMPLE, &client_id(client).as_uuid().to_string())).collect()
}

/// Findings of a full proof, by their kinds.
fn found(telex: &Telex) -> Vec<String> {
    let report = telex.prove();
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_client_that_is_erased_leaves_no_content_and_every_message_stays_known() {
    let mut telex = Telex::new();
    let (writer, partition) = (Writer::new(&telex), partition_of("client"));
    writer.messages("client", 0..5);
    // A dead letter of the client: its id was used before.
    writer.message("client", "m-0", "other words");
    let other = client_beside("client");
    writer.messages(&other, 0..5);
    telex.applied();
    let [places, erase, write_back]: [String; 3] = statements("client").try_into().unwrap();

    // What is in the log is not to be erased yet: the statement names the offset behind which the log has to start.
    let last = format!("select last from ({}) as place", places.trim_end().trim_end_matches(';'));
    assert_eq!(telex.number(&last), 5);
    trim(&telex, partition, log_end(&telex, partition));
    telex.assert_clean();
    telex.execute(&erase);

    let content = "select (select count(*) from messages where client_id = clients.id and text <> '')
                        + (select count(*) from dead_letters where value is not null)
                        + (select count(*) from client_aliases where client_id = clients.id)
                   from clients where client_phone like 'erased %'";
    assert_eq!(telex.number(content), 0);
    assert_eq!(
        telex.number("select count(*) from clients where client_phone = '+70000000000'"),
        1,
        "the other"
    );
    let report = telex.assert_clean();
    assert_eq!((&report["rows"]["messages"], &report["rows"]["dead_letters"]), (&10.into(), &1.into()));

    // Sent again, whenever: a duplicate, and nothing comes back. With other words it is another letter.
    writer.message("client", "m-1", "Hello");
    writer.flush();
    telex.applied();
    telex.assert_counts([("/rows/messages", 10), ("/duplicates", 1), ("/rows/dead_letters", 1)]);
    assert_eq!(telex.number(content), 0);

    // The person writes again.
    writer.message("client", "m-5", "Hello again");
    writer.flush();
    let mut processor = telex.ready_processor();
    telex.wait_until_applied();
    processor.stop().unwrap();
    assert_eq!(found(&telex), ["client_differs"]);
    telex.execute(&write_back);
    telex.assert_clean();

    // Too early: the other's records are in the log.
    let [_, erase, _]: [String; 3] = statements(&other).try_into().unwrap();
    telex.execute(&erase);
    assert!(found(&telex).contains(&"message_differs".to_owned()));
}
