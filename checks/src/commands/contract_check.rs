//! `checks contract-check`: the topic's contract as its readers meet it. The AsyncAPI document is one; the schemas take
//! what was ever written and refuse what is wrong; the readers under `examples/readers/` read a real topic, plain and over
//! TLS.

mod access;
mod connect;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dev_env::commands::steps::step;
use dev_env::commands::with_services::Services;
use dev_env::debian::{KCAT, Unpacked};
use dev_env::ports::Port;
use dev_env::process::require;
use dev_env::programs::{Programs, Running, TOPIC, post};
use dev_env::workspace::Workspace;
use serde_json::Value;

use self::access::{Access, USER};
use self::connect::Connect;
use crate::tools;

const ASYNC_API: &str = "@asyncapi/parser@3.6.6";
/// How many are made by `write`.
const RECORDS: usize = 7;

pub fn run(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let requirements = root.join("examples/readers/requirements.txt");
    let requirements = requirements.to_string_lossy();
    let python = step("confluent-kafka and jsonschema", || {
        tools::python(workspace, "readers", &["-r", &requirements])
    })?;
    let python = python.join("python3");
    let node = step(ASYNC_API, || tools::node(workspace, "asyncapi-parser", ASYNC_API))?;
    let kcat = step("kcat", || KCAT.ensure(workspace))?;
    let connect = step("Kafka Connect", || Connect::install(workspace))?;
    step("the AsyncAPI document", || {
        let mut check = Command::new("node");
        check.arg(root.join("schemas/contract/check.mjs")).arg(&node);
        require(check.current_dir(root.join("schemas/contract")), "apt-get install nodejs")
    })?;
    step("the schemas, golden records and wrong ones", || {
        require(Command::new(&python).arg(root.join("schemas/contract/check.py")), "")
    })?;

    let (secure, files) = access::listener(&workspace.dev().join("contract-check"))?;
    let services = Services::secured(workspace, secure)?;
    let programs = services.programs(workspace)?;
    let mut api = step("a topic with messages, copies, a command and garbage", || {
        let mut api = programs.ingest_api(&services.directory, "ingest-api", Port::Free, &[])?;
        api.wait_until_ready()?;
        write(&api, &programs, &kcat, &services.directory)?;
        Ok(api)
    })?;
    let (plain, over_tls) = (Access::plain(&services.kafka), Access::over_tls(&services.kafka, files)?);
    step("examples/readers/read.py", || read(root, &python, &plain))?;
    step("examples/readers/read.py, over TLS", || read(root, &python, &over_tls))?;
    step("examples/readers/kcat.sh", || ask(root, &kcat, &python, &plain))?;
    step("examples/readers/kcat.sh, over TLS", || ask(root, &kcat, &python, &over_tls))?;
    step("examples/readers/connect-s3-sink.json, over TLS", || {
        archive(&connect.receives(root, &services.directory, &over_tls, RECORDS)?)
    })?;
    api.stop()?;
    services.stop();
    Ok(())
}

/// Of client a the messages 1, 2 and 1 again, and a command; of clients b and c, who has no phone, the message 1; and a
/// record that is none.
fn write(api: &Running, programs: &Programs, kcat: &Unpacked, directory: &Path) -> Result<()> {
    let address = api.address.context("an ingest API has an address")?;
    let send = |path: &str, body: &str| -> Result<Value> {
        let answer = post(address, path, "content-type: application/json\r\n", body);
        let (status, answer) = answer.context("the ingest API does not answer")?;
        ensure!(status == 202, "POST {path} was answered {status}: {answer}");
        serde_json::from_str(&answer).context("the answer is no JSON")
    };
    let message = |source: &str, id: &str| {
        format!(
            r#"{{"external_client_id":"{source}","client_phone":"+70000000000","external_message_id":"{id}","text":"Привет"}}"#
        )
    };
    let kept = send("/v1/messages", &message("a", "1"))?;
    for (source, id) in [("a", "2"), ("a", "1"), ("b", "1")] {
        send("/v1/messages", &message(source, id))?;
    }
    let without_phone = r#"{"external_client_id":"c","client_address":"tg:6001","external_message_id":"1","text":"","aliases":["username:c"]}"#;
    send("/v1/messages", without_phone)?;
    let client = kept.get("client_id").and_then(Value::as_str).context("the answer names no client")?;
    send(&format!("/v1/clients/{client}/dialog/close"), "{}")?;
    let garbage = directory.join("garbage.txt");
    std::fs::write(&garbage, "nobody:nothing\n").context("a record cannot be written down")?;
    let mut command = kcat.command("usr/bin/kcat");
    command.args(["-P", "-q", "-b", &programs.kafka, "-t", TOPIC, "-p", "0", "-K", ":", "-l"]).arg(&garbage);
    require(&mut command, "").map(drop)
}

/// Each event once and in the order of its client; nothing new for a group that has read everything.
fn read(root: &Path, python: &Path, access: &Access) -> Result<()> {
    let run = || {
        let mut reader = Command::new(python);
        reader.arg(root.join("examples/readers/read.py")).args(["--brokers", &access.brokers]);
        reader.args(["--topic", TOPIC, "--group", access.group, "--until-end"]);
        if let Some(files) = &access.files {
            reader.arg("--ca-file").arg(&files.ca).args(["--user", USER]);
            reader.arg("--password-file").arg(&files.password);
        }
        require(&mut reader, "")
    };
    let lines = run()?;
    let events: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |source: &str| -> Vec<&str> {
        let events =
            events.iter().filter(|event| event.pointer("/data/external_client_id") == Some(&source.into()));
        events.filter_map(|event| event.get("id").and_then(Value::as_str)).collect()
    };
    ensure!(
        of("a") == ["1", "2"] && of("b") == ["1"] && of("c") == ["1"],
        "the reader tells another story:\n{lines}"
    );
    let closes =
        events.iter().filter(|event| event.get("type") == Some(&"telex.dialog.close.v1".into())).count();
    ensure!(closes == 1 && events.len() == 5, "the reader tells another story:\n{lines}");
    let again = run()?;
    ensure!(again.is_empty(), "the group reads again what it has read:\n{again}");
    Ok(())
}

/// Every question of `kcat.sh` has its answer.
fn ask(root: &Path, kcat: &Unpacked, python: &Path, access: &Access) -> Result<()> {
    let ask = |question: &[&str]| {
        let mut command = Command::new("bash");
        kcat.lend(&mut command);
        command.arg(root.join("examples/readers/kcat.sh")).args(question);
        command.env("TELEX_BROKERS", &access.brokers).env("TELEX_TOPIC", TOPIC);
        if let Some(files) = &access.files {
            command.env("TELEX_CA_FILE", &files.ca).env("TELEX_USER", USER);
            command.env("TELEX_PASSWORD_FILE", &files.password);
            access::lend_newer_library(&mut command, python, files)?;
        }
        require(&mut command, "apt-get install bash")
    };
    let lines = |question: &[&str]| ask(question).map(|said| said.lines().count());
    let types = ask(&["types"])?;
    let counted = |count: u8, name: &str| {
        types.lines().any(|line| line.split_whitespace().eq([count.to_string(), format!("ce_type={name}")]))
    };
    ensure!(counted(4, "telex.message.received.v2"), "types: {types}");
    ensure!(counted(1, "telex.message.received.v3"), "types: {types}");
    ensure!(counted(1, "telex.dialog.close.v1"), "types: {types}");
    ensure!(lines(&["keys"])? == RECORDS, "keys: there are {RECORDS} records");
    ensure!(lines(&["since", "0"])? == RECORDS, "since: there are {RECORDS} records");
    ensure!(ask(&["everything"])?.contains("Привет"), "everything: a text is missing");
    ensure!(ask(&["partition", "0"])?.contains("nobody"), "partition: a record is missing");
    ensure!(lines(&["newest"])? >= 1, "newest: nothing");
    ensure!(lines(&["list"])? == 6, "list: a question came or went: it needs a check here");
    Ok(())
}

/// Key and value come to the sink as they are, and headers as text.
fn archive(lines: &[String]) -> Result<()> {
    let mut types: Vec<&str> = lines.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    types.sort_unstable();
    let [v2, v3] = ["telex.message.received.v2", "telex.message.received.v3"];
    let expected = ["none", "telex.dialog.close.v1", v2, v2, v2, v2, v3];
    ensure!(types == expected, "types: {types:?}");
    // `nobody` and `nothing`, in base64.
    ensure!(lines.iter().any(|line| line == "bm9ib2R5 bm90aGluZw== none"), "a record is missing: {lines:?}");
    Ok(())
}
