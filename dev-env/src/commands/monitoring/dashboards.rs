//! Grafana's dashboards as files: what Grafana would not say until somebody looks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Grafana's own variable: what a range of a rate must be at least. Ours stands in for it.
const RATE_INTERVAL: (&str, &str) = ("$__rate_interval", "1m");

/// A dashboard, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Dashboard {
    uid: String,
    title: String,
    description: String,
    panels: Vec<Panel>,
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
///
/// # Errors
/// What a dashboard lacks, all of it.
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
                if !data_sources.contains(&format!("uid: {}\n", target.datasource.uid)) {
                    say(&panel.title, "names a data source that is not provisioned");
                }
            }
        }
        problems
    }

    fn queries(&self) -> impl Iterator<Item = Query> + '_ {
        self.panels.iter().flat_map(move |panel| {
            panel.targets.iter().map(move |target| Query {
                place: format!("{}, {} ({})", self.title, panel.title, target.ref_id),
                expression: target.expr.replace(RATE_INTERVAL.0, RATE_INTERVAL.1),
            })
        })
    }
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

    fn panel(id: u32, x: u32, uid: &str) -> String {
        format!(
            r#"{{"id":{id},"type":"stat","title":"T{id}","description":"D","gridPos":{{"x":{x},"y":0,"w":12,"h":8}},
                "targets":[{{"refId":"A","expr":"up[$__rate_interval]","datasource":{{"uid":"{uid}"}}}}]}}"#
        )
    }

    fn problems(panels: &[String]) -> Vec<String> {
        let json = format!(r#"{{"uid":"u","title":"B","description":"D","panels":[{}]}}"#, panels.join(","));
        let dashboard: Dashboard = serde_json::from_str(&json).unwrap();
        assert!(dashboard.queries().all(|query| query.expression == "up[1m]"));
        dashboard.problems("    uid: prometheus\n")
    }

    #[test]
    fn what_grafana_would_show_as_a_mess_is_named() {
        assert!(problems(&[panel(1, 0, "prometheus"), panel(2, 12, "prometheus")]).is_empty());
        assert_eq!(problems(&[panel(1, 0, "prometheus"), panel(1, 12, "prometheus")]).len(), 1);
        assert_eq!(problems(&[panel(1, 0, "prometheus"), panel(2, 6, "prometheus")]).len(), 1);
        assert_eq!(problems(&[panel(1, 13, "prometheus")]).len(), 1);
        assert_eq!(problems(&[panel(1, 0, "elsewhere")]).len(), 1);
    }
}
