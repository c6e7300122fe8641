use super::*;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Reads a file of this text.
fn read_text(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let directory = std::env::temp_dir().join(format!("telex-producers-{}", uuid::Uuid::from_u128(random())));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("producers.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(directory.join("crm.secret"), format!("{SECRET}\n")).unwrap();
    std::fs::write(directory.join("meta.secret"), "a secret of Meta's app\n").unwrap();
    let variable = |name: &str| match name {
        "CRM_SECRET" | "CRM_SECRET_OLD" | "TELEX_SECRET" => Some(SECRET.to_owned()),
        "META_TOKEN" => Some("a word of choice".to_owned()),
        _ => None,
    };
    let read = read(&path, &mut Files::default(), variable);
    std::fs::remove_dir_all(&directory).unwrap();
    read.map_err(|problems| problems.0)
}

fn random() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    u128::from(RandomState::new().hash_one(std::thread::current().id()))
}

#[track_caller]
fn assert_problem(text: &str, problem: &str) {
    let problems = read_text(text).unwrap_err();
    assert!(problems.iter().any(|each| each.contains(problem)), "{problem:?} is not among {problems:#?}");
    assert!(!problems.iter().any(|each| each.contains("C2FV")), "a secret is shown: {problems:#?}");
}

#[test]
fn secrets_stand_in_the_file_in_files_of_their_own_or_in_the_environment() {
    let entries = read_text(&format!(
        r#"
        [[producers]]
        name = "crm"
        secrets = [{{ secret = "{SECRET}" }}, {{ secret_file = "crm.secret" }}, {{ secret_env = "CRM_SECRET" }}]
        api_keys = [{{ sha256 = "{}" }}]
        timestamp_tolerance_seconds = 259200
        external_client_ids = ["client-17"]
        external_client_id_prefixes = ["crm-"]
        messages = {{ per_second = 500, burst = 1000 }}
        bytes = {{ per_second = 1000000 }}

        [[producers]]
        name = "all"
        secrets = [{{ secret_file = "crm.secret" }}]
        all_external_client_ids = true
        "#,
        "0f".repeat(32)
    ))
    .unwrap();
    let [crm, all] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((crm.secrets.len(), crm.api_keys.len()), (3, 1));
    assert_eq!((crm.tolerance, all.tolerance), (Duration::from_secs(259_200), TOLERANCE));
    assert_eq!(crm.messages, Some(Rate { per_second: 500, burst: 1_000 }));
    assert_eq!(crm.bytes, Some(Rate { per_second: 1_000_000, burst: 1_000_000 }));
    assert_eq!((&all.scope, all.messages), (&Scope::All, None));
    assert!(!format!("{entries:?}").contains("C2FV"));
}

#[test]
fn the_example_of_the_page_and_the_one_beside_the_senders_are_read() {
    let page = include_str!("../../../../docs/producers.md");
    let shown = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let of_the_page = read_text(shown).unwrap();
    let names: Vec<&str> = of_the_page.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["crm", "backoffice", "meta"]);
    let of_the_senders = read_text(include_str!("../../../../examples/producers.toml")).unwrap();
    let [example] = of_the_senders.as_slice() else { panic!("{of_the_senders:?}") };
    let message: serde_json::Value =
        serde_json::from_str(include_str!("../../../../examples/message.json")).unwrap();
    let Scope::Named { exact, .. } = &example.scope else { panic!("{:?}", example.scope) };
    assert!(exact.contains(message["external_client_id"].as_str().unwrap()), "{exact:?}");
}

#[test]
fn every_problem_is_told_at_once_with_its_producer_and_rule() {
    let problems = read_text(
        r#"
        [[producers]]
        name = "short"
        secrets = [{ secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }]
        all_external_client_ids = true

        [[producers]]
        name = "Nobody!"
        external_client_ids = [" "]
        messages = { per_second = 0 }
        "#,
    );
    assert_eq!(
        problems.unwrap_err(),
        [
            r#"producer "short": secrets[0]: must have 24 to 64 bytes, has 23"#,
            r#"producer "Nobody!": name must be 1 to 64 of a-z, 0-9, - and _"#,
            r#"producer "Nobody!": there must be a credential: an entry in secrets or in api_keys, or a hook"#,
            r#"producer "Nobody!": messages: per_second and burst must be 1 at least"#,
            r#"producer "Nobody!": external_client_ids: " " is not an external_client_id"#,
        ]
    );
}

#[test]
fn what_has_no_meaning_is_refused() {
    let producer = |more: &str| format!("[[producers]]\nname = \"crm\"\n{more}");
    let with_secret =
        |more: &str| producer(&format!("secrets = [{{ secret_file = \"crm.secret\" }}]\n{more}"));
    for (text, problem) in [
        (String::new(), "there must be 1 to 256 producers"),
        (producer("secrets = 1"), "line 3"),
        (producer("unknown = 1"), "unknown field"),
        (producer("secrets = [{ secret_file = \"absent\" }]"), "cannot be read"),
        (producer("secrets = [{ secret_env = \"ABSENT\" }]"), "the variable ABSENT is not set"),
        (producer("secrets = [{}]"), "must have one of secret, secret_file and secret_env"),
        (producer("secrets = [{ secret = \"C2FVsBQIhrscChlQIMV+b5sSYspob7oD\" }]"), "must start with whsec_"),
        (producer("api_keys = [{ sha256 = \"0f\" }]"), "sha256 must be 64 hexadecimal digits"),
        (producer("timestamp_tolerance_seconds = 0"), "timestamp_tolerance_seconds must be from 1 to 604800"),
        (producer("timestamp_tolerance_seconds = 604801"), "timestamp_tolerance_seconds must be from 1"),
        (with_secret(""), "set either external_client_ids"),
        (
            with_secret("all_external_client_ids = true\nexternal_client_ids = [\"a\"]"),
            "set either external_client_ids or",
        ),
        (with_secret("external_client_id_prefixes = [\"\"]"), "an empty prefix"),
        (with_secret("") + &with_secret(""), "appears twice"),
        (
            with_secret("all_external_client_ids = true\n[[producers.hooks]]\nname = \"a b\""),
            "line 6: hook \"a b\": name must be",
        ),
        (format!("{SECRET} = [{SECRET}"), "line 1"),
        (producer(&format!("secrets = \"{SECRET}\"")), "line 3"),
        (producer(&format!("name = \"{SECRET}\"")), "line 3"),
        (producer(&format!("messages = {{ per_second = \"{SECRET}\" }}")), "line 3"),
    ] {
        assert_problem(&text, problem);
    }
}
