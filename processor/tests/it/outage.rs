//! Servers that are away for half a minute.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::harness::{SOON, Telex, keep, message, post, wait_for};

const OUTAGE: Duration = Duration::from_secs(30);

#[test]
fn kafka_away_for_30_s_is_503_and_then_recovers_by_itself() {
    let (mut telex, mut servers) = Telex::with_own_servers();
    let api = telex.ingest_api();
    let processor = telex.processor();
    keep(&api, &message("client", "before", "Hello"));
    telex.assert_clean();
    servers.kafka.stop().unwrap();
    let away = Instant::now();
    while away.elapsed() < OUTAGE {
        let asked = Instant::now();
        let (status, body) = post(api.address.unwrap(), &message("client", "meanwhile", "Hello"));
        assert_eq!(status, 503, "{body}");
        assert!(asked.elapsed() < Duration::from_secs(15), "never a hang");
        sleep(Duration::from_millis(500));
    }
    servers.kafka.start_again().unwrap();
    wait_for("202 again", SOON, || post(api.address.unwrap(), &message("client", "after", "Hello")).0 == 202);
    assert_eq!(telex.assert_clean()["rows"]["dialogs"], 1);
    assert!(processor.server.is_running());
}

#[test]
fn postgresql_away_for_30_s_is_202_all_the_time_and_then_catches_up() {
    let (mut telex, mut servers) = Telex::with_own_servers();
    let api = telex.ingest_api();
    let processor = telex.processor();
    keep(&api, &message("client", "before", "Hello"));
    telex.assert_clean();
    servers.postgres.kill();
    let away = Instant::now();
    let mut kept = 1;
    while away.elapsed() < OUTAGE {
        keep(&api, &message(&format!("client-{}", kept % 50), &format!("meanwhile-{kept}"), "Hello"));
        kept += 1;
        sleep(Duration::from_millis(20));
    }
    servers.postgres.start_again().unwrap();
    assert_eq!(telex.assert_clean()["rows"]["messages"], kept);
    assert!(processor.server.is_running());
}
