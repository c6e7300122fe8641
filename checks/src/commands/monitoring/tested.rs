//! Which alerts the tests of the rules have seen come up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::yaml::{Look as _, document};

const FILES: [&str; 2] = ["telex.rules.test.yml", "platform.rules.test.yml"];

/// Of both files, under `monitoring/prometheus/`.
pub fn expected_alerts(directory: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for file in FILES {
        let text =
            fs::read_to_string(directory.join(file)).with_context(|| format!("{file} cannot be read"))?;
        found.extend(expected_in(&document(&text)?));
    }
    Ok(found)
}

/// Those that a test wants to fire, by their whole names: that one stays silent proves nothing by itself.
fn expected_in(tests: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for test in tests.list("/tests") {
        let of_alerts = test.list("/alert_rule_test").iter();
        let firing = of_alerts.filter(|it| !it.list("/exp_alerts").is_empty());
        found.extend(firing.map(|it| it.text("/alertname")));
        for question in test.list("/promql_expr_test") {
            let samples = question.list("/exp_samples");
            if !samples.is_empty() {
                let labels = samples.iter().map(|sample| sample.text("/labels"));
                let texts: Vec<String> = labels.chain([question.text("/expr")]).collect();
                found.extend(texts.iter().flat_map(|text| named(text)));
            }
        }
    }
    found
}

fn named(text: &str) -> impl Iterator<Item = String> + '_ {
    let after = text.split("alertname=\"").skip(1);
    after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_tested_that_is_expected_by_its_whole_name() {
        let tests = r#"
            # TelexInAComment
            tests:
              - alert_rule_test:
                  - { alertname: TelexSilent, exp_alerts: [] }
                  - { alertname: TelexFires, exp_alerts: [{ exp_labels: { severity: page } }] }
                promql_expr_test:
                  - { expr: 'ALERTS{alertname="TelexAbsent"}', exp_samples: [] }
                  - { expr: 'count(ALERTS{alertname="TelexCounted"})', exp_samples: [{ labels: "{}", value: 1 }] }
                  - { expr: 'count by (alertname) (ALERTS)', exp_samples: [{ labels: '{alertname="TelexLabelled"}', value: 1 }] }
        "#;
        let expected = ["TelexCounted", "TelexFires", "TelexLabelled"].map(str::to_owned);
        assert_eq!(expected_in(&document(tests).unwrap()), BTreeSet::from(expected));
    }
}
