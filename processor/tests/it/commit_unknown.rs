//! COMMIT, and the connection breaks: before the server has it, or before its answer is back.

use dev_env::proxy::{Mode, Proxy};

use crate::harness::{SOON, Telex, wait_for};

#[test]
fn a_commit_whose_answer_is_lost_on_either_side_has_its_effect_once() {
    let mut telex = Telex::new();
    let server = telex.programs.database_url.split(['@', '/']).nth(3).unwrap();
    let proxy = Proxy::start(server.parse().unwrap()).unwrap();
    let mut programs = telex.programs.clone();
    programs.database_url = programs.database_url.replace(server, &proxy.address().to_string());
    let api = telex.ingest_api();
    let mut processor = telex.processor_of(&programs);
    processor.wait_until_ready().unwrap();
    let mut load = telex.load(&api, 5_000, 500);
    for mode in [Mode::DropCommit, Mode::SwallowAnswer, Mode::DropCommit, Mode::SwallowAnswer] {
        let before = proxy.broken();
        proxy.set(mode);
        wait_for("COMMITs to break", SOON, || proxy.broken() > before + 2);
    }
    assert!(load.wait().unwrap().success());
    proxy.set(Mode::Pass);
    let report = telex.assert_clean();
    assert!(report["rows"]["messages"].as_i64().unwrap() > 4_000);
}
