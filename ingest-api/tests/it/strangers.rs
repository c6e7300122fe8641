//! Strangers who send bodies slowly, without a credential or with a forged signature in a producer's name, do not keep
//! the producers out.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rstest::rstest;
use service_kit::clock::unix_time;
use sha2::Sha256;
use tokio::{
    sync::Semaphore,
    time::{sleep, sleep_until},
};

use crate::{
    client::{Client, Ended, block_on},
    harness::{Api, join_all, message},
};

const KEY: [u8; 24] = [1; 24];
/// Each sends all of a batch but its last byte, and waits: together they hold what may be in flight by default.
const STRANGERS: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
/// `--body-deadline-ms`: so often comes each stranger, which makes 7 MB a second of all.
const PERIOD: Duration = Duration::from_secs(10);
/// Until what they have written is read.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// Of the producer.
const CONNECTIONS: u32 = 4;
const RATE: u32 = 200;
const SECONDS: u32 = 5;
/// A p99 on a machine that others use, too, is never better known than that.
const FLOOR: Duration = Duration::from_millis(500);

#[rstest]
#[case::without_a_credential(None)]
#[case::in_a_producers_name(Some([9; 24]))]
fn strangers_who_send_slowly_do_not_keep_a_producer_out(#[case] forged: Option<[u8; 24]>) {
    let file = producers_file(forged.is_some());
    let producers = format!("--producers-file={}", file.display());
    let api = Api::with(&[&producers]);
    let address = api.running.address.unwrap();
    let (quiet, (refused, p99)) = block_on(async {
        let (_, quiet) = producer(address, "quiet").await;
        let holding = Arc::new(Semaphore::new(0));
        for _ in 0..STRANGERS {
            drop(service_kit::spawn("stranger", stranger(address, forged, Arc::clone(&holding))));
        }
        let all = u32::try_from(STRANGERS).unwrap();
        holding.acquire_many(all).await.unwrap().forget();
        sleep(READ_WITHIN).await;
        (quiet, producer(address, "beside").await)
    });
    eprintln!("{refused} messages of the producer refused, p99 {p99:?}, {quiet:?} before");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(refused, 0);
    assert!(p99 < quiet * 2 + FLOOR, "{p99:?} instead of {quiet:?}");
}

/// Sends all of a batch but its last byte, forever; says each time that it has.
async fn stranger(address: SocketAddr, forged: Option<[u8; 24]>, holding: Arc<Semaphore>) {
    let head = match forged {
        Some(key) => signed_head("/v1/messages/batch", BATCH_BYTES, b"another body", key),
        None => head("/v1/messages/batch", BATCH_BYTES),
    };
    let request = [head.as_bytes(), b"\r\n", &vec![b' '; BATCH_BYTES - 1]].concat();
    loop {
        let again = Instant::now() + PERIOD;
        if let Ok(mut client) = Client::connect(address).await {
            let _refused_early = client.write(&request).await.is_err();
            holding.add_permits(1);
            // Whatever it is answered, and when.
            let _answer = client.answer().await;
        }
        sleep_until(again.into()).await;
    }
}

/// Sends its messages at a steady rate; how many were refused, and the p99 of the answers.
async fn producer(address: SocketAddr, name: &'static str) -> (usize, Duration) {
    let senders = (0..CONNECTIONS).map(|connection| async move {
        let mut client = Client::connect(address).await.unwrap();
        let (mut refused, mut took) = (0, Vec::new());
        let started = Instant::now();
        for number in 0..RATE * SECONDS / CONNECTIONS {
            let due = started + Duration::from_secs(1) / RATE * CONNECTIONS * number;
            sleep_until(due.into()).await;
            let body = message("shop", &format!("{name}-{connection}-{number}")).to_string();
            let head = signed_head("/v1/messages", body.len(), body.as_bytes(), KEY);
            match client.ask(format!("{head}\r\n{body}").as_bytes()).await {
                Ended::Answered(202) => {}
                Ended::Answered(_) => refused += 1,
                Ended::Closed | Ended::Cut => {
                    refused += 1;
                    client = Client::connect(address).await.unwrap();
                }
            }
            took.push(due.elapsed());
        }
        (refused, took)
    });
    let senders: Vec<_> = senders.map(|sender| service_kit::spawn("sender", sender)).collect();
    let (refused, took): (Vec<usize>, Vec<Vec<Duration>>) = join_all(senders).await.into_iter().unzip();
    let mut took = took.concat();
    took.sort();
    (refused.into_iter().sum(), took[took.len() * 99 / 100])
}

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: telex\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
    )
}

/// Signed in the producer's name.
fn signed_head(path: &str, length: usize, body: &[u8], key: [u8; 24]) -> String {
    let now = unix_time().as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("msg_1.{now}.").as_bytes());
    mac.update(body);
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    format!(
        "{}x-telex-producer: crm\r\nwebhook-id: msg_1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n",
        head(path, length)
    )
}

fn producers_file(is_forged: bool) -> PathBuf {
    let name = format!("telex-strangers-{}-{is_forged}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let entry = format!(
        "[[producers]]\nname = \"crm\"\nsecrets = [{{ secret = \"whsec_{}\" }}]\nall_external_client_ids = true\n",
        STANDARD.encode(KEY)
    );
    std::fs::write(&file, entry).unwrap();
    file
}
