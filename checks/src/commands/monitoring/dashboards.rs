//! Grafana's dashboards as files: what Grafana would not say until somebody looks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Variables, and what stands in for them here: Grafana's own, which is what a range of a rate must be at least, and the
/// dashboards', which choose everything until somebody chooses less.
const VARIABLES: [(&str, &str); 3] = [("$__rate_interval", "1m"), ("$namespace", ".*"), ("$instance", ".*")];
/// The data source is a variable, too: a Grafana that is not ours has another uid.
const DATA_SOURCE: &str = "${datasource}";

/// Gauges of others that are named like counters: CloudNativePG names a metric `total` where a query counts rows.
const GAUGES: [&str; 2] = ["cnpg_backends_total", "cnpg_backends_waiting_total"];

/// A dashboard, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Dashboard {
    uid: String,
    title: String,
    description: String,
    templating: Templating,
    panels: Vec<Panel>,
}

#[derive(Debug, Default, Deserialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    r#type: String,
    #[serde(default, rename = "allValue")]
    all: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: u32,
    r#type: String,
    title: String,
    #[serde(default)]
    description: String,
    grid_pos: Place,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Place {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    expr: String,
    datasource: DataSource,
}

#[derive(Debug, Deserialize)]
struct DataSource {
    uid: String,
}

/// An expression and where it stands.
#[derive(Debug, Clone)]
pub struct Query {
    pub place: String,
    pub expression: String,
}

/// Reads every dashboard; returns their expressions.
pub fn read(monitoring: &Path) -> Result<Vec<Query>> {
    let folder = monitoring.join("grafana/dashboards");
    let sources = fs::read_to_string(monitoring.join("grafana/provisioning/datasources/prometheus.yml"))
        .context("the data source cannot be read")?;
    let (mut queries, mut problems, mut uids) = (Vec::new(), Vec::new(), BTreeSet::new());
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let dashboard: Dashboard = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a dashboard", path.display()))?;
        if !uids.insert(dashboard.uid.clone()) {
            problems.push(format!("{}: another dashboard has the uid {}", dashboard.title, dashboard.uid));
        }
        problems.extend(dashboard.problems(&sources));
        queries.extend(dashboard.queries());
    }
    if uids.is_empty() {
        problems.push(format!("{} is empty", folder.display()));
    }
    if problems.is_empty() { Ok(queries) } else { bail!("{}", problems.join("\n")) }
}

impl Dashboard {
    fn problems(&self, data_sources: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut say = |panel: &str, what: &str| problems.push(format!("{}, {panel}: {what}", self.title));
        if self.uid.is_empty() || self.description.is_empty() {
            say("itself", "needs a uid and a description");
        }
        let has = |name: &str, kind: &str, all: &str| {
            self.templating.list.iter().any(|it| it.name == name && it.r#type == kind && it.all == all)
        };
        if !has("datasource", "datasource", "") || !has("namespace", "query", ".*") {
            say("itself", "needs the variables datasource and namespace");
        }
        if !data_sources.contains("type: prometheus\n") {
            say("itself", "finds no Prometheus among the data sources");
        }
        let mut ids = BTreeSet::new();
        for (index, panel) in self.panels.iter().enumerate() {
            if !ids.insert(panel.id) {
                say(&panel.title, "another panel has its id");
            }
            let earlier = self.panels.iter().take(index);
            if panel.grid_pos.x + panel.grid_pos.w > 24
                || earlier.clone().any(|other| other.grid_pos.overlaps(&panel.grid_pos))
            {
                say(&panel.title, "lies over another panel or beyond the edge");
            }
            let is_row = panel.r#type == "row";
            if !is_row && (panel.targets.is_empty() || panel.description.is_empty()) {
                say(&panel.title, "needs an expression and a description");
            }
            for target in &panel.targets {
                if target.datasource.uid != DATA_SOURCE {
                    say(&panel.title, "names a data source instead of the variable");
                }
                if draws_a_counter(&target.expr) {
                    say(&panel.title, "draws a counter, which falls when an instance goes: draw its rate");
                }
                if target.expr.contains("$instance") && !has("instance", "query", ".*") {
                    say(&panel.title, "asks for an instance that nobody chooses");
                }
            }
        }
        problems
    }

    fn queries(&self) -> impl Iterator<Item = Query> + '_ {
        self.panels.iter().flat_map(move |panel| {
            panel.targets.iter().map(move |target| Query {
                place: format!("{}, {} ({})", self.title, panel.title, target.ref_id),
                expression: VARIABLES
                    .iter()
                    .fold(target.expr.clone(), |text, (name, value)| text.replace(name, value)),
            })
        })
    }
}

/// Whether a `…_total` stands outside of what turns it into a change.
fn draws_a_counter(expression: &str) -> bool {
    expression.match_indices("_total").any(|(at, _)| {
        let before = expression.get(..at).unwrap_or_default();
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |it| it + 1);
        let upto = expression.get(..at + "_total".len()).unwrap_or_default();
        let (before, name) = upto.split_at_checked(start).unwrap_or_default();
        !before.ends_with("rate(") && !before.ends_with("increase(") && !GAUGES.contains(&name)
    })
}

impl Place {
    const fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.w
            && other.x < self.x + self.w
            && self.y < other.y + other.h
            && other.y < self.y + self.h
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(id: u32, x: u32, uid: &str, expression: &str) -> String {
        format!(
            r#"{{"id":{id},"type":"stat","title":"T{id}","description":"D","gridPos":{{"x":{x},"y":0,"w":12,"h":8}},
                "targets":[{{"refId":"A","expr":"{expression}","datasource":{{"uid":"{uid}"}}}}]}}"#
        )
    }

    fn panel(id: u32, x: u32, uid: &str) -> String {
        drawing(id, x, uid, "up[$__rate_interval]")
    }

    fn problems(panels: &[String]) -> Vec<String> {
        let variables = r#"[{"name":"datasource","type":"datasource"},{"name":"namespace","type":"query","allValue":".*"}]"#;
        let json = format!(
            r#"{{"uid":"u","title":"B","description":"D","templating":{{"list":{variables}}},"panels":[{}]}}"#,
            panels.join(",")
        );
        let dashboard: Dashboard = serde_json::from_str(&json).unwrap();
        assert!(dashboard.queries().all(|query| !query.expression.contains('$')));
        dashboard.problems("    type: prometheus\n")
    }

    #[test]
    fn what_grafana_would_show_as_a_mess_is_named() {
        assert!(problems(&[panel(1, 0, DATA_SOURCE), panel(2, 12, DATA_SOURCE)]).is_empty());
        assert_eq!(problems(&[panel(1, 0, DATA_SOURCE), panel(1, 12, DATA_SOURCE)]).len(), 1);
        assert_eq!(problems(&[panel(1, 0, DATA_SOURCE), panel(2, 6, DATA_SOURCE)]).len(), 1);
        assert_eq!(problems(&[panel(1, 13, DATA_SOURCE)]).len(), 1);
        assert_eq!(problems(&[panel(1, 0, "elsewhere")]).len(), 1);
        assert!(problems(&[drawing(1, 0, DATA_SOURCE, "sum(rate(a_total[1m]))")]).is_empty());
        assert_eq!(problems(&[drawing(1, 0, DATA_SOURCE, "sum(a_total)")]).len(), 1);
        assert!(problems(&[drawing(1, 0, DATA_SOURCE, "sum(cnpg_backends_total)")]).is_empty());
        assert_eq!(problems(&[drawing(1, 0, DATA_SOURCE, "up{a='$instance'}")]).len(), 1);
    }
}
