//! Kafka's and PostgreSQL's versions, in every file that names them: CONTRIBUTING.md, "move a pin".

use crate::pages::read;

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
        ("docker-compose.yml", format!("image: apache/kafka:{kafka}\n")),
        ("docker-compose.yml", format!("image: postgres:{postgres}\n")),
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
