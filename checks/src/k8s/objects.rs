//! The objects of a build, and the pods that they and the operators make.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::programs::{Invocation, NAMES};
use crate::yaml::{Look as _, documents};

pub type Labels = BTreeMap<String, String>;

/// How the images of the servers begin that run without an operator.
const SERVERS: [&str; 2] = ["docker.io/apache/kafka:", "docker.io/library/postgres:"];

#[derive(Debug)]
pub struct Objects(Vec<Value>);

/// Something that starts a container.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    pub object: &'a Value,
    pub template: &'a Value,
    pub pod: &'a Value,
    pub container: &'a Value,
}

impl Objects {
    /// Reads them.
    pub fn parse(texts: &[&str]) -> Result<Self> {
        let mut all = Vec::new();
        for text in texts {
            all.extend(documents(text)?);
        }
        let made: Vec<Value> = all.iter().filter_map(made_topic).collect();
        all.extend(made);
        Ok(Self(all))
    }

    pub fn all(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Value> + use<'_> {
        let kind = kind.to_owned();
        self.0.iter().filter(move |object| object.text("/kind") == kind)
    }

    /// One of them; null if it is not there.
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        static NULL: Value = Value::Null;
        self.of(kind).find(|object| object.text("/metadata/name") == name).unwrap_or(&NULL)
    }

    /// What starts containers.
    pub fn workloads(&self) -> Vec<Workload<'_>> {
        let kinds = ["Deployment", "StatefulSet", "Job", "CronJob"];
        let objects = self.0.iter().filter(|object| kinds.contains(&object.text("/kind").as_str()));
        objects
            .map(|object| {
                let is_planned = object.text("/kind") == "CronJob";
                let template =
                    object.at(if is_planned { "/spec/jobTemplate/spec/template" } else { "/spec/template" });
                let container = template.at("/spec/containers/0");
                Workload { object, template, pod: template.at("/spec"), container }
            })
            .collect()
    }

    /// Every kind of pod in the namespace by a name: ours, and those that the operators make of their objects.
    pub fn pods(&self) -> Vec<(String, Labels)> {
        let of_ours = self.workloads().into_iter().map(|workload| {
            let labels = workload.labels();
            let name = labels.get("app.kubernetes.io/name").cloned().unwrap_or_else(|| workload.name());
            (name, labels)
        });
        // Two planned Jobs may have pods of one kind.
        let mut pods: Vec<_> = of_ours.collect::<BTreeMap<_, _>>().into_iter().collect();
        let one = |key: &str, value: String| Labels::from([(key.to_owned(), value)]);
        for kafka in self.of("Kafka") {
            let name = kafka.text("/metadata/name");
            pods.push(("kafka".to_owned(), one("strimzi.io/name", format!("{name}-kafka"))));
            pods.push((
                "entity-operator".to_owned(),
                one("strimzi.io/name", format!("{name}-entity-operator")),
            ));
        }
        for cluster in self.of("Cluster") {
            pods.push(("postgres".to_owned(), one("cnpg.io/cluster", cluster.text("/metadata/name"))));
        }
        // cert-manager v1.19, pkg/issuer/acme/http/pod.go: `podLabels`.
        let asks = |it: &Value| !it.at("/metadata/annotations/cert-manager.io~1cluster-issuer").is_null();
        if self.of("Ingress").any(asks) {
            let label = one("acme.cert-manager.io/http01-solver", "true".to_owned());
            pods.push(("acme-solver".to_owned(), label));
        }
        pods
    }
}

impl Workload<'_> {
    pub fn name(&self) -> String {
        self.object.text("/metadata/name")
    }

    pub fn labels(&self) -> Labels {
        labels(self.template.at("/metadata/labels"))
    }

    pub fn place(&self) -> String {
        place(self.object)
    }

    /// It runs until it is told to stop.
    pub fn is_service(&self) -> bool {
        !matches!(self.object.text("/kind").as_str(), "Job" | "CronJob")
    }

    /// It runs Kafka, its tools or PostgreSQL.
    pub fn is_server(&self) -> bool {
        let image = self.container.text("/image");
        SERVERS.iter().any(|server| image.starts_with(server))
    }

    /// The program that its image holds.
    pub fn program(&self) -> Option<&'static str> {
        let image = self.container.text("/image");
        let name =
            image.split(['@', ':']).next().and_then(|it| it.rsplit('/').next().map(ToOwned::to_owned))?;
        NAMES.into_iter().find(|program| *program == name)
    }

    /// Variables by name; one that comes from elsewhere has no text.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let variables = self.container.list("/env").iter();
        variables.map(|variable| (variable.text("/name"), variable.text("/value"))).collect()
    }

    /// What it starts, with the files that are mounted: of a ConfigMap what it holds, of a Secret something that can
    /// be read.
    pub fn invocation(&self, objects: &Objects) -> Invocation {
        let mut files = BTreeMap::new();
        for mount in self.container.list("/volumeMounts") {
            let directory = mount.text("/mountPath");
            let name = mount.text("/name");
            let Some(volume) = self.pod.list("/volumes").iter().find(|it| it.text("/name") == name) else {
                continue;
            };
            let map = objects.get("ConfigMap", &volume.text("/configMap/name"));
            for (key, value) in map.map("/data") {
                files.insert(format!("{directory}/{key}"), value.text(""));
            }
            for item in volume.list("/secret/items") {
                files.insert(format!("{directory}/{}", item.text("/path")), "postgres://u@h/d".to_owned());
            }
        }
        Invocation { arguments: self.container.texts("/args"), variables: self.variables(), files }
    }
}

/// The topic that a Job makes with Kafka's own tool, as Strimzi would be told of it.
fn made_topic(job: &Value) -> Option<Value> {
    let command = job.texts("/spec/template/spec/containers/0/command");
    if !command.first()?.ends_with("/kafka-topics.sh") {
        return None;
    }
    let value = |flag: &str| command.iter().find_map(|it| it.strip_prefix(flag)).map(ToOwned::to_owned);
    let number = |flag: &str| value(flag)?.parse::<i64>().ok();
    let config: Map<String, Value> = command
        .iter()
        .filter_map(|it| it.strip_prefix("--config=")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    Some(json!({
        "kind": "KafkaTopic",
        "metadata": {"name": value("--topic=")?, "namespace": job.text("/metadata/namespace")},
        "spec": {
            "partitions": number("--partitions=")?,
            "replicas": number("--replication-factor=")?,
            "config": config,
        },
    }))
}

/// Kind and name.
pub fn place(object: &Value) -> String {
    format!("{} {}", object.text("/kind"), object.text("/metadata/name"))
}

pub fn labels(value: &Value) -> Labels {
    value.map("").into_iter().map(|(name, value)| (name.to_owned(), value.text(""))).collect()
}

/// Whether a selector chooses what has these labels; an empty one chooses everything.
pub fn selects(selector: &Value, of: &Labels) -> bool {
    selector.at("/matchExpressions").is_null()
        && labels(selector.at("/matchLabels")).iter().all(|(name, value)| of.get(name) == Some(value))
}
