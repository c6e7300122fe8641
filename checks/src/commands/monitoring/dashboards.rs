//! Grafana's dashboards as files: what Grafana would not say until somebody looks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::yaml::Look as _;

/// Variables, and what stands in for them here: Grafana's own, which is what a range of a rate must be at least, and the
/// dashboards', which choose everything until somebody chooses less.
const VARIABLES: [(&str, &str); 3] = [("$__rate_interval", "1m"), ("$namespace", ".*"), ("$instance", ".*")];
/// The data source is a variable, too: a Grafana that is not ours has another uid.
const DATA_SOURCE: &str = "${datasource}";

/// Gauges of others that are named like counters: CloudNativePG names a metric `total` where a query counts rows.
const GAUGES: [&str; 2] = ["cnpg_backends_total", "cnpg_backends_waiting_total"];

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
        let dashboard: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a dashboard", path.display()))?;
        let (title, uid) = (dashboard.text("/title"), dashboard.text("/uid"));
        problems.extend(faults(&dashboard, &sources));
        queries.extend(expressions(&dashboard));
        if !uids.insert(uid.clone()) {
            problems.push(format!("{title}: another dashboard has the uid {uid}"));
        }
    }
    if uids.is_empty() {
        problems.push(format!("{} is empty", folder.display()));
    }
    if problems.is_empty() { Ok(queries) } else { bail!("{}", problems.join("\n")) }
}

fn faults(dashboard: &Value, data_sources: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let title = dashboard.text("/title");
    let mut say = |panel: &str, what: &str| problems.push(format!("{title}, {panel}: {what}"));
    let panels = dashboard.list("/panels");
    let is_named = ["/uid", "/title", "/description"].iter().all(|it| !dashboard.text(it).is_empty());
    if !is_named || panels.is_empty() {
        say("itself", "needs a uid, a title, a description and panels");
    }
    let has = |name: &str, kind: &str, all: &str| {
        let described = |it: &Value| ["/name", "/type", "/allValue"].map(|what| it.text(what));
        dashboard.list("/templating/list").iter().any(|it| described(it) == [name, kind, all])
    };
    if !has("datasource", "datasource", "") || !has("namespace", "query", ".*") {
        say("itself", "needs the variables datasource and namespace");
    }
    if !data_sources.contains("type: prometheus\n") {
        say("itself", "finds no Prometheus among the data sources");
    }
    let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        let mut say = |what: &str| say(&panel.text("/title"), what);
        if !ids.insert(panel.text("/id")) {
            say("another panel has its id");
        }
        let Some(place @ [x, _, width, _]) = place(panel) else {
            say("has no place");
            continue;
        };
        if x + width > 24 || places.iter().any(|other| overlap(*other, place)) {
            say("lies over another panel or beyond the edge");
        }
        places.push(place);
        let targets = panel.list("/targets");
        let is_told = !targets.is_empty() && !panel.text("/description").is_empty();
        if panel.text("/type") != "row" && !is_told {
            say("needs an expression and a description");
        }
        if may_show_the_past(panel) {
            say("a stat asks for an instant, and says what it means that there is no value");
        }
        for target in targets {
            let expression = target.text("/expr");
            if target.text("/datasource/uid") != DATA_SOURCE {
                say("names a data source instead of the variable");
            }
            if draws_a_counter(&expression) {
                say("draws a counter, which falls when an instance goes: draw its rate");
            }
            if expression.contains("$instance") && !has("instance", "query", ".*") {
                say("asks for an instance that nobody chooses");
            }
        }
    }
    problems
}

fn expressions(dashboard: &Value) -> impl Iterator<Item = Query> + '_ {
    dashboard.list("/panels").iter().flat_map(move |panel| {
        panel.list("/targets").iter().map(move |target| {
            let [title, panel] = [dashboard, panel].map(|it| it.text("/title"));
            let place = format!("{title}, {panel} ({})", target.text("/refId"));
            let values = VARIABLES.iter();
            let expression =
                values.fold(target.text("/expr"), |text, (name, value)| text.replace(name, value));
            Query { place, expression }
        })
    })
}

/// Of a range Grafana shows the last value, for as long as that lies within it, after whoever served it has gone.
fn may_show_the_past(panel: &Value) -> bool {
    let asks_now = panel.list("/targets").iter().all(|target| target.text("/instant") == "true");
    let says_nothing = panel.text("/fieldConfig/defaults/noValue").is_empty();
    panel.text("/type") == "stat" && (!asks_now || says_nothing)
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

/// Where a panel lies: x, y, width and height.
fn place(panel: &Value) -> Option<[i64; 4]> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel.number(&format!("/gridPos/{side}")));
    Some([x?, y?, w?, h?])
}

const fn overlap([x, y, w, h]: [i64; 4], [left, top, width, height]: [i64; 4]) -> bool {
    x < left + width && left < x + w && y < top + height && top < y + h
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(id: u32, x: u32, uid: &str, expression: &str) -> String {
        format!(
            r#"{{"id":{id},"type":"stat","title":"T{id}","description":"D","gridPos":{{"x":{x},"y":0,"w":12,"h":8}},
                "fieldConfig":{{"defaults":{{"noValue":"nobody"}}}},
                "targets":[{{"refId":"A","instant":true,"expr":"{expression}","datasource":{{"uid":"{uid}"}}}}]}}"#
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
        let dashboard: Value = serde_json::from_str(&json).unwrap();
        assert!(expressions(&dashboard).all(|query| !query.expression.contains('$')));
        faults(&dashboard, "    type: prometheus\n")
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
        for (said, other) in [(r#""instant":true"#, r#""instant":false"#), ("nobody", "")] {
            assert_eq!(problems(&[panel(1, 0, DATA_SOURCE).replace(said, other)]).len(), 1);
        }
    }
}
