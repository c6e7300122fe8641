//! What the documents say of metrics and their labels.
//! Tests of the services see to it that the tables of docs/operations.md are what the programs serve.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use dev_env::workspace::Workspace;

use super::expression::Names;

const METRICS: &str = "docs/operations.md";
/// Above the table of metrics that no program of ours serves.
const OF_OTHERS: &str = "### Of others";

/// Of every series: Prometheus sets them, from the target and from its own configuration.
const SCRAPED: [&str; 4] = ["job", "instance", "namespace", "cluster"];

/// A metric's type and labels, and whether somebody else serves it.
#[derive(Debug)]
struct Metric {
    kind: String,
    labels: Vec<String>,
    is_of_others: bool,
}

/// Every metric that there is.
#[derive(Debug)]
pub struct Catalog {
    metrics: BTreeMap<String, Metric>,
}

impl Catalog {
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let text = fs::read_to_string(workspace.root().join(METRICS))
            .with_context(|| format!("{METRICS} cannot be read"))?;
        let mut catalog = Self::parse(&text);
        ensure!(catalog.metrics.len() > 40, "{METRICS} has no tables of metrics any more");
        // Prometheus' own.
        for (name, labels) in [("up", vec![]), ("ALERTS", vec!["alertname", "alertstate", "severity"])] {
            let labels = labels.into_iter().map(str::to_owned).collect();
            let metric = Metric { kind: "gauge".to_owned(), labels, is_of_others: false };
            catalog.metrics.insert(name.to_owned(), metric);
        }
        Ok(catalog)
    }

    fn parse(text: &str) -> Self {
        let mut is_of_others = false;
        let rows = text.lines().filter_map(|line| {
            if line.starts_with("##") {
                is_of_others = line == OF_OTHERS;
            }
            let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
            let [name, kind @ ("counter" | "gauge" | "histogram"), labels, ..] = cells.as_slice() else {
                return None;
            };
            let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let kind = (*kind).to_owned();
            Some((name.trim_end_matches('`').to_owned(), Metric { kind, labels, is_of_others }))
        });
        Self { metrics: rows.collect() }
    }

    /// What an expression names that there is not.
    pub fn unknown(&self, names: &Names) -> Vec<String> {
        let mut problems = Vec::new();
        let mut groups: Vec<&str> = SCRAPED.into_iter().chain(["le"]).collect();
        for (name, labels) in &names.metrics {
            let Some(metric) = self.find(name) else {
                problems.push(format!("there is no metric {name}"));
                continue;
            };
            groups.extend(metric.labels.iter().map(String::as_str));
            for label in labels {
                if !SCRAPED.contains(&label.as_str()) && !metric.labels.contains(label) {
                    problems.push(format!("{name} has no label {label}"));
                }
            }
        }
        let absent = names.grouping.iter().filter(|label| !groups.contains(&label.as_str()));
        problems.extend(absent.map(|label| format!("no metric here has the label {label}")));
        problems
    }

    /// Whether an expression asks for nothing but what only a cluster serves.
    pub fn is_of_others(&self, names: &Names) -> bool {
        names.metrics.iter().all(|(name, _)| self.find(name).is_some_and(|metric| metric.is_of_others))
    }

    fn find(&self, series: &str) -> Option<&Metric> {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            self.metrics.get(series.strip_suffix(suffix)?).filter(|metric| metric.kind == "histogram")
        });
        // A histogram has no series of its own name.
        of_histogram.or_else(|| self.metrics.get(series).filter(|metric| metric.kind != "histogram"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::names;
    use super::*;

    #[test]
    fn what_a_document_does_not_list_is_named() {
        let catalog = Catalog::parse(
            "| metric | type |\n| `a_total` | counter | `route` `code` | Of all. |\n| `b_seconds` | histogram |  | Time. |\n",
        );
        let problems = |expression: &str| catalog.unknown(&names(expression)).join("; ");
        assert_eq!(problems("sum by (code, le) (rate(a_total{route=\"x\"}[5m])) + b_seconds_bucket"), "");
        assert_eq!(problems("a_totals"), "there is no metric a_totals");
        assert_eq!(problems("a_total{rout=\"x\"}"), "a_total has no label rout");
        assert_eq!(problems("sum by (reason) (a_total)"), "no metric here has the label reason");
        assert_eq!(problems("b_seconds"), "there is no metric b_seconds");
        assert_eq!(problems("a_total_bucket"), "there is no metric a_total_bucket");
    }

    #[test]
    fn what_others_serve_is_told_from_what_is_ours() {
        let catalog = Catalog::parse(
            "### ours\n| `a` | gauge |  | A. |\n### Of others\n| `b` | gauge | `pod` | the same |\n### What to look at\n| `c` | gauge |  | C. |\n",
        );
        let of_others = |expression: &str| catalog.is_of_others(&names(expression));
        assert!(of_others("sum by (pod) (b)"));
        assert!(!of_others("sum by (pod) (b) / a") && !of_others("a + c"), "ours must have a value");
    }
}
