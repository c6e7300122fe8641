//! What is shipped cannot be held at a failpoint.

use std::path::PathBuf;

use crate::harness::variable;

const NAMES: [&str; 12] = [
    "after_poll",
    "after_route",
    "after_begin",
    "after_clients",
    "after_dialogs",
    "after_messages",
    "after_dead_letters",
    "after_cas",
    "after_commit",
    "after_ack",
    "inside_assign",
    "inside_revoke",
];

#[test]
fn the_programs_hold_no_name_of_a_failpoint() {
    for program in ["ingest-api", "processor"] {
        let binary = std::fs::read(PathBuf::from(variable("TELEX_BIN_DIR")).join(program)).unwrap();
        for name in NAMES {
            let holds = binary.windows(name.len()).any(|part| part == name.as_bytes());
            assert!(!holds, "{program} holds {name}");
        }
    }
}
