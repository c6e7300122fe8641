//! What a shell sees: exit status, standard output, the report.

use std::{path::PathBuf, process::Output, time::Duration};

use tokio::process::Command;

use crate::server::{Server, Trouble};

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("run").args(arguments).kill_on_drop(true);
    command
}

async fn run(server: &Server, arguments: &[&str]) -> Output {
    loadtest(arguments).arg("--url").arg(server.url()).output().await.unwrap()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

#[tokio::test]
async fn a_clean_run_exits_with_0_and_writes_the_report() {
    let server = Server::start(Trouble::None).await;
    let path = scratch("report.json");
    let output = run(&server, &["--messages=500", "--seed=3", "--report", path.to_str().unwrap()]).await;
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.ends_with("every reply was as expected\n"), "{stdout}");

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!((&report["sent"], &report["seed"]), (&500.into(), &3.into()));
    assert_eq!(report["expected_messages"], report["valid"]);
}

#[tokio::test]
async fn a_report_on_standard_output_is_one_line_and_the_last() {
    let server = Server::start(Trouble::TakesEverything).await;
    let output = run(&server, &["--messages=500", "--report=-"]).await;
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    let (summary, report) = stdout.trim_end().rsplit_once('\n').unwrap();
    assert!(summary.ends_with("NOT as expected"), "{stdout}");
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!((&report["sent"], &report["ended"]), (&500.into(), &"complete".into()));
    assert!(!std::path::Path::new("-").exists(), "no file has that name");
}

#[tokio::test]
async fn a_rate_that_is_sent_in_ticks_is_kept_and_complete() {
    let server = Server::start(Trouble::None).await;
    let path = scratch("ticks.json");
    let arguments = ["--messages=3000", "--rate=3k", "--report", path.to_str().unwrap()];
    let output = run(&server, &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!((server.arrivals().len(), &report["sent"]), (3_000, &3_000.into()));
    assert!(report["elapsed_seconds"].as_f64().unwrap() >= 0.99, "{report}");
    assert!(report["achieved_share"].as_f64().unwrap() > 0.0 && report["sustained"].is_null(), "{report}");
}

#[tokio::test]
async fn the_floor_says_what_a_request_costs_the_load_tester_itself() {
    let path = scratch("floor.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["floor", "--rate=500", "--duration=1s", "--connections=8"]).kill_on_drop(true);
    let output = command.arg("--report").arg(&path).output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("\nown cost ") && stdout.ends_with("every reply was as expected\n"), "{stdout}");

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(report["replies"], serde_json::json!({"202": 500}));
    let own = report["own_cpu_micros"].as_f64().unwrap();
    // No less than two system calls; no more than the whole second.
    assert!(own > 1.0 && own < 2_000.0, "{own}");
}

#[tokio::test]
async fn unexpected_replies_exit_with_1() {
    let server = Server::start(Trouble::TakesEverything).await;
    let output = run(&server, &["--messages=500"]).await;
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("NOT as expected"), "{stdout}");
}

#[tokio::test]
async fn a_target_that_does_not_listen_exits_with_1_and_wrong_usage_with_2() {
    let nobody = loadtest(&["--url=http://127.0.0.1:1"]).output().await.unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let stderr = String::from_utf8(nobody.stderr).unwrap();
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("loadtest: the target does not accept connections: "), "{stderr}");
    let usage = loadtest(&["--mix=valid=lots"]).output().await.unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn ctrl_c_prints_what_was_reached_and_exits_with_130() {
    let server = Server::start(Trouble::Slow(Duration::from_millis(20))).await;
    let running = loadtest(&["--connections=2", "--url", &server.url()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while server.arrivals().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let id = running.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    let output = running.wait_with_output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stdout}");
    assert!(stdout.contains("interrupted: ") && stdout.contains(" of 20,000 sent"), "{stdout}");
}
