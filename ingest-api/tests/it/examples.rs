//! The senders under `examples/`, against a real API that asks for signatures, through somebody in between who
//! answers the first attempt with a 503.

use std::{
    fs::File,
    future::ready,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
};
use dev_env::{programs, workspace::Workspace};
use rstest::rstest;
use serde_json::json;

use crate::{client::block_on, harness::Api};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// What `Retry-After` of the first answer asks for.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// One attempt, as it came.
struct Attempt {
    at: Instant,
    webhook_id: String,
    body: String,
}

#[rstest]
#[case::curl("curl", &["examples/send.sh"])]
#[case::python("python3", &["python3", "examples/send.py"])]
#[case::node("node", &["node", "examples/send.mjs"])]
#[case::go("go", &["go", "run", "examples/send.go"])]
fn a_sender_signs_waits_as_asked_and_repeats_with_the_same_id(
    #[case] language: &str,
    #[case] sender: &[&str],
) {
    if !is_here(language) {
        // A machine for Rust need not have four languages; CI has.
        assert!(!is_ci(), "{language} is not here");
        eprintln!("{language} is not here: its sender is not tried");
        return;
    }
    let root = Workspace::find().unwrap().root().to_owned();
    let files = tempdir(&root, language);
    let producers = files.join("producers.toml");
    let entry = format!(
        "[[producers]]\nname = \"example\"\nsecrets = [{{ secret = \"{SECRET}\" }}]\n\
         external_client_id_prefixes = [\"example-\"]\n"
    );
    std::fs::write(&producers, entry).unwrap();
    let message = files.join("message.json");
    let sent = json!({"external_client_id": "example-1", "client_phone": "+70000000000",
                      "external_message_id": language, "text": "Привет"});
    std::fs::write(&message, sent.to_string()).unwrap();

    let api = Api::with(&[&format!("--producers-file={}", producers.display())]);
    let (address, attempts) = between(api.running.address.unwrap());
    let [program, arguments @ ..] = sender else { panic!("no sender") };
    let mut command = Command::new(program);
    command.current_dir(&root).args(arguments).arg(&message);
    command.env("TELEX_URL", format!("http://{address}")).env("TELEX_SECRET", SECRET);
    // A log that others write to, too.
    let log = files.join("log");
    std::fs::write(&log, "somebody else's line\n").unwrap();
    command.stderr(File::options().append(true).open(&log).unwrap());
    let output = command.env("TELEX_PRODUCER", "example").output().unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(log.starts_with("somebody else's line\n"), "{log}");

    let attempts = attempts.lock().unwrap();
    let [first, second] = &attempts[..] else { panic!("{} attempts", attempts.len()) };
    assert!(second.at - first.at >= RETRY_AFTER, "{:?} instead of Retry-After", second.at - first.at);
    assert_eq!((&first.webhook_id, &first.body), (&second.webhook_id, &second.body));
    let topic = api.topic();
    assert_eq!((topic.len(), &topic[0].value), (1, &sent));
    std::fs::remove_dir_all(&files).unwrap();
}

/// Answers the first request with a 503, and passes the others on.
fn between(api: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<Attempt>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let attempts: Arc<Mutex<Vec<Attempt>>> = Arc::default();
    let noted = Arc::clone(&attempts);
    let pass = move |uri: Uri, headers: HeaderMap, body: String| {
        let mut noted = noted.lock().unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let webhook_id = headers.get("webhook-id").map(text).unwrap_or_default();
        noted.push(Attempt { at: Instant::now(), webhook_id, body: body.clone() });
        if noted.len() == 1 {
            let retry_after = [("retry-after", RETRY_AFTER.as_secs().to_string())];
            return ready((StatusCode::SERVICE_UNAVAILABLE, retry_after, String::new()));
        }
        let own = ["connection", "content-length", "host"];
        let kept = headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let lines: String = kept.map(|(name, value)| format!("{name}: {}\r\n", text(value))).collect();
        let (status, answer) = programs::post(api, uri.path(), &lines, body).unwrap();
        let content_type = [("content-type", "application/json".to_owned())];
        ready((StatusCode::from_u16(status).unwrap(), content_type, answer))
    };
    thread::spawn(move || {
        block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().fallback(pass)).await.unwrap();
        });
    });
    (address, attempts)
}

pub fn is_here(program: &str) -> bool {
    let question = if program == "go" { "version" } else { "--version" };
    Command::new(program).arg(question).output().is_ok_and(|output| output.status.success())
}

pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

fn tempdir(root: &Path, name: &str) -> std::path::PathBuf {
    let directory = root.join(".dev/it").join(format!("example-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
