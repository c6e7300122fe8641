//! What producers are shown, against a real API that asks for credentials: the senders under `examples/`, through
//! somebody in between who answers the first attempt with a 503, and the commands that the page `/docs` writes.

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
use sha2::{Digest as _, Sha256};

use crate::{client::block_on, harness::Api};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const API_KEY: &str = "telex-test-api-key-0123456789abcdef";
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
    if !are_here(&[language]) {
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

/// Evaluates the page's script, which asks for the contract and is not answered, and has it write a command.
const WRITE: &str = r#"
const [page, request, language, credentials] = process.argv.slice(1);
const context = require("node:vm").createContext({ fetch: () => new Promise(() => {}) });
const evaluate = (script) => require("node:vm").runInContext(script, context);
evaluate(require("node:fs").readFileSync(page, "utf8"));
process.stdout.write(evaluate(`${language}Command`)(JSON.parse(request), credentials));
"#;

#[rstest]
#[case::curl_with_a_signature("curl", "signature")]
#[case::curl_with_an_api_key("curl", "key")]
#[case::python_with_a_signature("python", "signature")]
#[case::python_with_an_api_key("python", "key")]
fn a_command_that_the_page_shows_proves_who_sends_and_is_taken(
    #[case] language: &str,
    #[case] credentials: &str,
) {
    let (sender, interpreter) = if language == "curl" { ("curl", "bash") } else { ("python3", "python3") };
    if !are_here(&["node", sender]) {
        return;
    }
    let root = Workspace::find().unwrap().root().to_owned();
    let files = tempdir(&root, &format!("page-{language}-{credentials}"));
    let producers = files.join("producers.toml");
    let digest = hex::encode(Sha256::digest(API_KEY));
    let entry = format!(
        "[[producers]]\nname = \"example\"\nsecrets = [{{ secret = \"{SECRET}\" }}]\n\
         api_keys = [{{ sha256 = \"{digest}\" }}]\nexternal_client_id_prefixes = [\"example-\"]\n"
    );
    std::fs::write(&producers, entry).unwrap();
    let api = Api::with(&[&format!("--producers-file={}", producers.display())]);

    // With what a shell, or Python, could take for something else.
    let sent = json!({"external_client_id": "example-1", "client_phone": "+70000000000",
                      "external_message_id": "1", "text": "It's \"Привет\" \\n $HOME `id`"});
    let url = format!("http://{}/v1/messages", api.running.address.unwrap());
    let request = json!({"method": "POST", "url": url, "headers": {"content-type": "application/json"},
                         "body": serde_json::to_string_pretty(&sent).unwrap()});
    let mut node = Command::new("node");
    node.args(["-e", WRITE]).arg(root.join("ingest-api/src/docs/page.js")).arg(request.to_string());
    let shown = said(node.args([language, credentials]));
    let status = |secret: &str, api_key: &str| {
        let mut command = Command::new(interpreter);
        command.args(["-c", &shown]).env("TELEX_SECRET", secret).env("TELEX_API_KEY", api_key);
        let answer = said(&mut command);
        // After the version of HTTP, which is no number.
        answer.split_whitespace().find_map(|word| word.parse::<u16>().ok())
    };
    let of_another = ("whsec_bm90IHRoZSBzZWNyZXQgb2YgdGhlIHRlc3Rz", "telex-test-api-key-of-somebody-else");
    assert_eq!(status(of_another.0, of_another.1), Some(401));
    assert_eq!(status(SECRET, API_KEY), Some(202));
    let topic = api.topic();
    assert_eq!((topic.len(), &topic[0].value), (1, &sent));
    std::fs::remove_dir_all(&files).unwrap();
}

/// What a command prints that must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a test can be tried here. A machine for Rust need not have four languages; CI has.
fn are_here(wanted: &[&str]) -> bool {
    let absent: Vec<&str> = wanted.iter().copied().filter(|program| !is_here(program)).collect();
    assert!(absent.is_empty() || !is_ci(), "{absent:?} is not here");
    if !absent.is_empty() {
        eprintln!("{absent:?} is not here: what takes it is not tried");
    }
    absent.is_empty()
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
