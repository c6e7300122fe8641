//! What docs/kubernetes.md tells a person to change stands in the files that it names, and in no other.

use std::collections::BTreeSet;

use dev_env::markdown::code;

use crate::pages::{files, read};

/// Rows of "Values to change" whose value is the name of a namespace beside ours.
const NAMESPACES: [&str; 2] = ["namespace of the ingress controller", "namespace of Prometheus"];

#[test]
fn every_place_of_a_namespace_that_may_be_another_is_named() {
    let guide = read("docs/kubernetes.md");
    let files = files();
    for row in NAMESPACES {
        let beginning = format!("| {row} | ");
        let cells = guide.lines().find_map(|line| line.strip_prefix(&beginning)).unwrap();
        let (places, value) = cells.split_once(" | ").unwrap();
        let value = code(value).0[0];
        let selected = format!("kubernetes.io/metadata.name: {value}\n");
        let addressed = format!(".{value}.svc");
        let holds = |text: &str| text.contains(&selected) || text.contains(&addressed);
        let manifests = files.iter().filter(|file| {
            file.starts_with("k8s") && file.extension().is_some_and(|extension| extension == "yaml")
        });
        let holding: BTreeSet<String> =
            manifests.filter(|file| holds(&read(file))).map(|file| file.display().to_string()).collect();
        let named: BTreeSet<String> =
            code(places).0.into_iter().map(|place| format!("k8s/{place}")).collect();
        assert_eq!(named, holding, "{row}");
    }
}
