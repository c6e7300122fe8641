//! The senders under `examples/`, against a real API that asks for signatures, through somebody in between who
//! answers the first attempt with a 503.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dev_env::workspace::Workspace;
use serde_json::json;

use crate::harness::Api;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// What `Retry-After` of the first answer asks for.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// One attempt, as it came.
struct Attempt {
    at: Instant,
    webhook_id: String,
    body: String,
}

#[test]
fn the_sender_in_curl_signs_waits_as_asked_and_repeats_with_the_same_id() {
    delivers("curl", &["examples/send.sh"]);
}

#[test]
fn the_sender_in_python_signs_waits_as_asked_and_repeats_with_the_same_id() {
    delivers("python3", &["python3", "examples/send.py"]);
}

#[test]
fn the_sender_in_node_signs_waits_as_asked_and_repeats_with_the_same_id() {
    delivers("node", &["node", "examples/send.mjs"]);
}

#[test]
fn the_sender_in_go_signs_waits_as_asked_and_repeats_with_the_same_id() {
    delivers("go", &["go", "run", "examples/send.go"]);
}

fn delivers(language: &str, sender: &[&str]) {
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
    let output = command.env("TELEX_PRODUCER", "example").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let attempts = attempts.join().unwrap();
    let [first, second] = &attempts[..] else { panic!("{} attempts", attempts.len()) };
    assert!(second.at - first.at >= RETRY_AFTER, "{:?} instead of Retry-After", second.at - first.at);
    assert_eq!((&first.webhook_id, &first.body), (&second.webhook_id, &second.body));
    let topic = api.topic();
    assert_eq!((topic.len(), &topic[0].value), (1, &sent));
    std::fs::remove_dir_all(&files).unwrap();
}

/// Answers the first request with a 503, and passes the second on.
fn between(api: SocketAddr) -> (SocketAddr, thread::JoinHandle<Vec<Attempt>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let seconds = RETRY_AFTER.as_secs();
    let refusal = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {seconds}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let attempts = thread::spawn(move || {
        let mut attempts = Vec::new();
        while attempts.len() < 2 {
            let (mut sender, _) = listener.accept().unwrap();
            sender.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let (head, body) = request(&mut sender);
            let webhook_id = header(&head, "webhook-id").unwrap_or_default().to_owned();
            attempts.push(Attempt { at: Instant::now(), webhook_id, body: body.clone() });
            if attempts.len() == 1 {
                sender.write_all(refusal.as_bytes()).unwrap();
                continue;
            }
            let mut api = TcpStream::connect(api).unwrap();
            let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
            let head: String = kept.map(|line| format!("{line}\r\n")).collect();
            write!(api, "{head}connection: close\r\n\r\n{body}").unwrap();
            let mut answer = Vec::new();
            api.read_to_end(&mut answer).unwrap();
            sender.write_all(&answer).unwrap();
        }
        attempts
    });
    (address, attempts)
}

/// A request's head, without its empty line, and its body.
fn request(stream: &mut TcpStream) -> (String, String) {
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n")
            && header(head, "content-length").is_some_and(|length| length == body.len().to_string())
        {
            return (head.to_owned(), body.to_owned());
        }
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "a request was cut: {whole}");
        text.extend_from_slice(&buffer[..read]);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    values.next()
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
