use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::{Message, Posted};

use super::*;

fn base_time() -> Timestamp {
    Timestamp::parse("2026-11-24T12:00:00Z").unwrap()
}

fn settings() -> Settings {
    Settings::usual(base_time())
}

fn plan() -> Plan {
    Plan::new(settings()).unwrap()
}

fn bodies(settings: Settings) -> Vec<Vec<u8>> {
    let plan = Plan::new(settings).unwrap();
    plan.requests().map(|request| plan.body(&request)).collect()
}

fn parse(body: &[u8]) -> Result<Message, schemas::Invalid> {
    Posted::parse(body, base_time()).map(|posted| posted.message)
}

#[test]
fn the_same_settings_give_the_same_bytes_and_another_seed_gives_others() {
    let few = || Settings { messages: 1_000, ..settings() };
    assert_eq!(bodies(few()), bodies(few()));
    let other = bodies(Settings { seed: 2, ..few() });
    let equal = bodies(few()).iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!(equal < 20, "{equal} bodies are equal");
}

#[test]
fn a_later_run_with_the_same_seed_sends_the_same_words_as_new_messages() {
    let later = Timestamp::parse("2026-11-24T12:00:01Z").unwrap();
    let (first, second) = (plan(), Plan::new(Settings { base_time: later, ..settings() }).unwrap());
    for request in first.requests().take(1_000) {
        assert_eq!(request, second.request(request.index));
        if let (Ok(one), Ok(other)) = (parse(&first.body(&request)), parse(&second.body(&request))) {
            assert_eq!((one.client_id(), one.text()), (other.client_id(), other.text()));
            assert_ne!(one.external_message_id(), other.external_message_id());
        }
    }
}

#[test]
fn the_shares_are_those_of_the_mix() {
    let mut shares = [0_i32; 3];
    for request in plan().requests() {
        match request.kind {
            Kind::Valid => shares[0] += 1,
            Kind::Duplicate { .. } => shares[1] += 1,
            Kind::Invalid(_) => shares[2] += 1,
        }
    }
    let [valid, duplicates, invalid] = shares;
    assert!((valid - 18_000).abs() < 200, "{shares:?}");
    assert!((duplicates - 1_000).abs() < 150, "{shares:?}");
    assert!((invalid - 1_000).abs() < 150, "{shares:?}");
}

#[test]
fn a_duplicate_repeats_an_earlier_valid_message_byte_for_byte_some_soon_some_much_later() {
    let plan = plan();
    let mut distances = Vec::new();
    for request in plan.requests() {
        let Kind::Duplicate { of } = request.kind else {
            continue;
        };
        let original = plan.request(of);
        assert!(of < request.index);
        assert_eq!((original.kind, original.client), (Kind::Valid, request.client));
        assert_eq!(plan.body(&original), plan.body(&request));
        distances.push(request.index - of);
    }
    assert!(distances.iter().filter(|distance| **distance <= SOON).count() > 300);
    assert!(distances.iter().filter(|distance| **distance > 2_000).count() > 200);
}

#[test]
fn every_valid_body_is_accepted_as_a_message_of_the_client_that_the_plan_names() {
    let plan = plan();
    let mut ids = BTreeSet::new();
    for request in plan.requests().filter(|request| request.expected_status() == 202) {
        let message = parse(&plan.body(&request)).unwrap();
        let client = plan.client(request.client);
        assert_eq!(message.client_id(), client.client_id().unwrap());
        let mut aliases: Vec<&str> = message.aliases().iter().map(schemas::Address::as_str).collect();
        aliases.sort_unstable();
        assert_eq!(aliases, client.aliases);
        let new = ids.insert((message.client_id(), message.external_message_id().to_string()));
        assert_eq!(new, request.kind == Kind::Valid);
    }
}

#[test]
fn every_invalid_body_is_refused_for_its_reason_and_no_way_to_be_invalid_is_left_out() {
    let plan = plan();
    let mut seen = BTreeSet::new();
    for request in plan.requests() {
        let Kind::Invalid(flaw) = request.kind else {
            continue;
        };
        let invalid = parse(&plan.body(&request)).unwrap_err();
        assert_eq!(invalid.reason, flaw.reason, "{}", flaw.name);
        seen.insert(flaw.name);
    }
    assert_eq!(seen, FLAWS.iter().map(|flaw| flaw.name).collect());
    assert_eq!(seen.len(), FLAWS.len(), "a name stands twice");
    for reason in schemas::InvalidReason::ALL {
        assert!(FLAWS.iter().any(|flaw| flaw.reason == reason), "{reason:?} has no example");
    }
}

#[test]
fn one_phone_writes_through_several_sources() {
    let plan = plan();
    let mut sources = BTreeMap::<String, BTreeSet<String>>::new();
    for request in plan.requests().filter(|request| request.kind == Kind::Valid) {
        let Client { external_client_id, address, .. } = plan.client(request.client);
        if address.starts_with('+') {
            assert!(address.starts_with("+7000"), "{address}");
            sources.entry(address).or_default().insert(external_client_id);
        }
    }
    let shared = |count| sources.values().filter(|sources| sources.len() == count).count();
    assert!(shared(2) > 100 && shared(3) > 100, "{} and {}", shared(2), shared(3));
    assert!(shared(1) > shared(2) + shared(3));
}

#[test]
fn some_clients_have_an_address_and_no_phone_and_as_many_a_phone_with_an_alias() {
    let counts = |addresses: u32| {
        let plan = Plan::new(Settings { addresses, ..settings() }).unwrap();
        let clients: Vec<Client> = (0..2_000).map(|index| plan.client(ClientIndex(index))).collect();
        let without = clients.iter().filter(|client| !client.address.starts_with('+')).count();
        let naming = clients.iter().filter(|client| !client.aliases.is_empty()).count();
        for client in clients {
            let mut aliases = client.aliases.clone();
            aliases.sort();
            aliases.dedup();
            assert_eq!(aliases, client.aliases);
            assert!(!aliases.contains(&client.address));
        }
        (without, naming - without)
    };
    assert_eq!(counts(0), (0, 0));
    let (without, with) = counts(10);
    assert!((140..260).contains(&without) && (120..280).contains(&with), "{without} and {with}");
    let (half, _) = counts(ADDRESSES_MAX);
    assert_eq!(half, 1_000);
    assert_eq!(Plan::new(Settings { addresses: 51, ..settings() }).unwrap_err(), PlanError::Addresses);
}

#[test]
fn two_client_numbers_never_mean_one_client() {
    for sources in [SOURCES_MIN, 4, 20] {
        let plan = Plan::new(Settings { sources, ..settings() }).unwrap();
        let clients: BTreeSet<_> =
            (0..2_000).map(|index| plan.client(ClientIndex(index)).client_id().unwrap()).collect();
        assert_eq!(clients.len(), 2_000);
    }
}

#[test]
fn the_example_clients_write_several_messages_each_whatever_the_seed() {
    for seed in 0..20 {
        for messages in [50, 1_000] {
            let plan = Plan::new(Settings { seed, messages, clients: 100, ..settings() }).unwrap();
            for (client, source) in
                [(0, "client00000000000000000000000000"), (1, "client00000000000000000000000001")]
            {
                let index = ClientIndex(client);
                let pair = plan.client(index);
                assert_eq!(
                    (pair.external_client_id.as_str(), pair.address.as_str()),
                    (source, "+70000000000")
                );
                let valid = |request: &Request| request.client == index && request.kind == Kind::Valid;
                assert!(plan.requests().filter(valid).count() >= 5);
            }
        }
    }
}

#[test]
fn most_clients_write_little_and_some_write_much() {
    let mut messages = HashMap::<ClientIndex, u32>::new();
    for request in plan().requests().filter(|request| request.kind == Kind::Valid) {
        *messages.entry(request.client).or_default() += 1;
    }
    let mut counts: Vec<u32> = messages.into_values().collect();
    counts.sort_unstable();
    assert!(counts.len() > 1_800, "{} clients", counts.len());
    let median = counts[counts.len() / 2];
    assert!((2..=6).contains(&median), "median {median}");
    let busiest = counts[counts.len() - 1];
    assert!((100..=400).contains(&busiest), "busiest {busiest}");
}

#[test]
fn a_spread_says_how_many_messages_a_client_writes() {
    let counts = |spread: &str| {
        let mut messages = HashMap::<ClientIndex, u32>::new();
        let settings = Settings { spread: spread.parse().unwrap(), clients: 200, ..settings() };
        for request in Plan::new(settings).unwrap().requests() {
            *messages.entry(request.client).or_default() += 1;
        }
        let mut counts: Vec<u32> = messages.into_values().collect();
        counts.sort_unstable();
        (counts[20], counts[100], counts[180])
    };
    let (few, median, many) = counts("even:100");
    assert!(few > 75 && many < 125, "{few} {median} {many}");
    let (few, median, many) = counts("50..150");
    assert!((45..80).contains(&few) && (80..120).contains(&median) && (120..170).contains(&many));
    let (few, _, many) = counts("100");
    assert!(few < 30 && many > 200, "{few} {many}");
}

#[test]
fn shards_send_the_plan_between_them_and_no_client_twice() {
    let shard = |shard: &str| {
        let settings = Settings { shard: shard.parse().unwrap(), ..settings() };
        let plan = Plan::new(settings).unwrap();
        plan.requests().map(|request| (request.index, request.client)).collect::<Vec<_>>()
    };
    let shards = [shard("0/3"), shard("1/3"), shard("2/3")];
    let mut all: Vec<_> = shards.concat();
    all.sort_unstable();
    let whole: Vec<_> = plan().requests().map(|request| (request.index, request.client)).collect();
    assert_eq!(all, whole);
    let clients = shards.map(|shard| shard.into_iter().map(|(_, client)| client).collect::<BTreeSet<_>>());
    assert!(clients[0].is_disjoint(&clients[1]) && clients[1].is_disjoint(&clients[2]));
}

#[test]
fn texts_differ_in_length_and_script() {
    let plan = plan();
    let texts: Vec<String> = plan
        .requests()
        .filter(|request| request.kind == Kind::Valid)
        .map(|request| parse(&plan.body(&request)).unwrap().text().as_str().to_owned())
        .collect();
    assert!(texts.iter().all(|text| !text.is_empty()));
    for sample in ["Where", "Где", "¿", "ß", "طلبي", "मेरा", "订单", "🙂", "\n", "\""] {
        assert!(texts.iter().any(|text| text.contains(sample)), "{sample:?} never comes");
    }
    let long = texts.iter().filter(|text| text.chars().count() > 300).count();
    assert!(long > 50 && long < texts.len() / 10, "{long} long texts");
}

#[test]
fn a_plan_of_any_size_and_mix_can_be_made() {
    for mix in ["valid=1", "invalid=1", "valid=1,duplicate=99", "valid=1,duplicate=1,invalid=98"] {
        for (messages, clients) in [(1, 2), (7, 2), (300, 3), (300, 1_000)] {
            let mix = mix.parse().unwrap();
            let plan = Plan::new(Settings { messages, clients, mix, ..settings() }).unwrap();
            for request in plan.requests() {
                assert_eq!(parse(&plan.body(&request)).is_ok(), request.expected_status() == 202);
                assert_eq!(plan.request(request.original()).client, request.client);
            }
        }
    }
}

#[test]
fn settings_without_a_plan_are_refused() {
    assert_eq!(Plan::new(Settings { clients: 1, ..settings() }).unwrap_err(), PlanError::Clients);
    assert_eq!(Plan::new(Settings { sources: 2, ..settings() }).unwrap_err(), PlanError::Sources);
}
