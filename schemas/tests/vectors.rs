//! Client ids and partitions computed by other implementations (Python's `uuid`, Kafka's Java
//! murmur2). A change that breaks one of these lines would move living clients.
#![expect(clippy::unwrap_used, reason = "a broken vector file fails the test")]

use schemas::{Address, ClientId, ExternalClientId, PartitionCount, Phone, key::murmur2};
use serde_json::Value;

fn lines(text: &'static str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn every_valid_pair_has_the_client_id_and_the_partition_of_the_other_implementations() {
    let mut count = 0;
    for vector in lines(include_str!("vectors/client-keys.jsonl")) {
        let source = ExternalClientId::parse(vector["external_client_id"].as_str().unwrap()).unwrap();
        let phone = Phone::parse(vector["client_phone"].as_str().unwrap()).unwrap();
        assert_eq!(phone.as_str(), vector["normalised_phone"], "{vector}");
        assert_is_the_client(ClientId::of(&source, &phone.into()), &vector);
        count += 1;
    }
    assert_eq!(count, 12);
}

#[test]
fn every_pair_with_an_address_has_the_client_id_and_the_partition_of_the_other_implementation() {
    let mut count = 0;
    for vector in lines(include_str!("vectors/client-addresses.jsonl")) {
        let source = ExternalClientId::parse(vector["external_client_id"].as_str().unwrap()).unwrap();
        let address = Address::parse(vector["client_address"].as_str().unwrap()).unwrap();
        assert_is_the_client(ClientId::of(&source, &address), &vector);
        count += 1;
    }
    assert_eq!(count, 7);
}

fn assert_is_the_client(client_id: ClientId, vector: &Value) {
    assert_eq!(client_id.key(), vector["client_id"], "{vector}");
    assert_eq!(murmur2(client_id.key().as_bytes()), vector["murmur2"], "{vector}");
    for (field, partitions) in [("partition_of_12", 12), ("partition_of_64", 64)] {
        let partition = client_id.partition(PartitionCount::new(partitions).unwrap());
        assert_eq!(partition.0, vector[field], "{vector}");
    }
}

#[test]
fn every_invalid_pair_is_refused() {
    let mut count = 0;
    for vector in lines(include_str!("vectors/client-keys-invalid.jsonl")) {
        let source = ExternalClientId::parse(vector["external_client_id"].as_str().unwrap());
        let phone = Phone::parse(vector["client_phone"].as_str().unwrap());
        assert!(source.is_err() || phone.is_err(), "{vector}");
        count += 1;
    }
    assert_eq!(count, 14);
}
