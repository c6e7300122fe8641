//! Batches of a client that follow each other under full load: no record overtakes another of its client, and none
//! that was acknowledged is left behind at a stop.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use serde_json::Value;

use crate::{
    client::{Client, Ended, block_on},
    harness::{Api, join_all, message},
};

/// Each is one client, whose next batch follows at once.
const CONNECTIONS: usize = 8;
const BATCH: usize = 100;
const LOAD: Duration = Duration::from_secs(2);

#[test]
fn batches_of_a_client_keep_their_order_and_none_is_left_at_a_stop() {
    let mut api = Api::new();
    let address = api.running.address.unwrap();
    let acknowledged = block_on(async {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| service_kit::spawn("sender", send_to_the_end(address, connection)))
            .collect();
        tokio::time::sleep(LOAD).await;
        api.running.stop().unwrap();
        join_all(senders).await
    });
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    for record in api.topic() {
        let text = |name: &str| record.value[name].as_str().unwrap().to_owned();
        let number = text("external_message_id").strip_prefix("m-").unwrap().parse().unwrap();
        found.entry(text("external_client_id")).or_default().push(number);
    }
    for (connection, acknowledged) in acknowledged.into_iter().enumerate() {
        let numbers = &found[&client(connection)];
        assert!(acknowledged > BATCH && numbers.len() >= acknowledged, "{acknowledged} acknowledged");
        assert!(
            numbers.iter().copied().eq(0..numbers.len()),
            "not in their order, of connection {connection}"
        );
    }
}

fn client(connection: usize) -> String {
    format!("in-order-{connection}")
}

/// Sends batches of one client, one after the other, until the API stops; how many messages were acknowledged.
async fn send_to_the_end(address: SocketAddr, connection: usize) -> usize {
    let mut sender = Client::connect(address).await.unwrap();
    let mut acknowledged = 0;
    loop {
        let messages = (acknowledged..acknowledged + BATCH)
            .map(|number| message(&client(connection), &format!("m-{number}")));
        let body = Value::Array(messages.collect()).to_string();
        let request = format!(
            "POST /v1/messages/batch HTTP/1.1\r\nhost: telex\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        match sender.ask(request.as_bytes()).await {
            Ended::Answered(202) => acknowledged += BATCH,
            Ended::Answered(_) | Ended::Closed => return acknowledged,
            Ended::Cut => panic!("an answer was cut"),
        }
    }
}
