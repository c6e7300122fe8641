//! A refusal is read by whoever is still sending its body: by Node's fetch, too, which gives up on the first write that
//! fails.

use std::process::Command;

use crate::{
    examples::{is_ci, is_here},
    harness::Api,
};

const REQUESTS: usize = 20;

/// Posts a body far above the limit again and again; prints the statuses.
const FETCH: &str = r#"
    const [url, requests] = process.argv.slice(1);
    const statuses = [];
    for (let n = 0; n < Number(requests); n++) {
        const headers = { 'content-type': 'application/json' };
        const body = Buffer.alloc(8 << 20, ' ');
        statuses.push(await fetch(url, { method: 'POST', headers, body }).then(
            async (answer) => (await answer.text(), answer.status),
            (error) => error.cause?.code ?? String(error),
        ));
    }
    console.log(statuses.join(' '));
"#;

#[test]
fn the_fetch_of_node_reads_every_413_of_a_body_that_it_is_still_sending() {
    if !is_here("node") {
        // A machine for Rust need not have Node; CI has.
        assert!(!is_ci(), "node is not here");
        eprintln!("skipped: node is not here, so its fetch is not tried");
        return;
    }
    let api = Api::new();
    let url = format!("http://{}/v1/messages", api.running.address.unwrap());
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", FETCH, "--", &url]).arg(REQUESTS.to_string());
    let output = node.output().unwrap();
    let statuses = String::from_utf8(output.stdout).unwrap();
    eprintln!("{}{}", statuses, String::from_utf8_lossy(&output.stderr));
    let statuses: Vec<&str> = statuses.split_whitespace().collect();
    assert_eq!(statuses, ["413"; REQUESTS]);
}
