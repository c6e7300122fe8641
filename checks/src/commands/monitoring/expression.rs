//! What a PromQL expression asks for, as far as the checks need it: a reader of tokens, not of the grammar;
//! Prometheus itself says whether an expression is one.

use std::sync::LazyLock;

use regex::Regex;

/// Functions' names are followed by a parenthesis; these words are neither functions nor metrics.
const WORDS: [&str; 8] = ["group_left", "group_right", "bool", "offset", "and", "or", "unless", "atan2"];

/// A text, a word, a number, or a sign.
#[expect(clippy::expect_used, reason = "a constant that the tests use")]
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?s)"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[A-Za-z_][\w:]*|\d[\w.]*|\S"#).expect("a regex")
});

/// What makes an expression empty while all is well; or a text, in which nothing does.
#[expect(clippy::expect_used, reason = "a constant that the tests use")]
static CONDITION: LazyLock<Regex> = LazyLock::new(|| {
    let text = r#"("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"#;
    let (compared, or_nothing) = (r"[><=!][><=!~]*\s*\d[\w.]*", r"\bor\s+vector\s*\(\s*0\s*\)");
    Regex::new(&format!(r"(?s){text}|(?:{compared}|{or_nothing})\s*")).expect("a regex")
});

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Metrics, each with the labels that its selector asks for.
    pub metrics: Vec<(String, Vec<String>)>,
    /// Labels by which it groups.
    pub grouping: Vec<String>,
}

/// The names in an expression.
pub fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let (mut in_braces, mut grouping) = (false, false);
    let mut tokens = TOKEN.find_iter(expression).map(|found| found.as_str()).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" => in_braces = true,
            "}" => in_braces = false,
            ")" => grouping = false,
            _ if !token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {}
            label if in_braces => {
                if let Some((_, labels)) = names.metrics.last_mut() {
                    labels.push(label.to_owned());
                }
            }
            "by" | "without" | "on" | "ignoring" => grouping = true,
            label if grouping => names.grouping.push(label.to_owned()),
            // `sum(…)` and `sum by (…) (…)` are no metrics.
            _ if matches!(tokens.peek(), Some(&("(" | "by" | "without"))) => {}
            metric if !WORDS.contains(&metric) => names.metrics.push((metric.to_owned(), Vec::new())),
            _ => {}
        }
    }
    names
}

/// The expression without what makes it empty while all is well: comparisons with a number, and the
/// `or vector(0)` that stands in for nothing. What is left has to return something.
pub fn without_conditions(expression: &str) -> String {
    CONDITION.replace_all(expression, "$1").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_labels_and_groups_are_found_and_functions_are_not() {
        let found = names(
            "histogram_quantile(0.99, sum by (le, job) (rate(a_seconds_bucket{route=~\"x|y\", code!=\"}\"}[5m])))\n\
             / b_total unless b_total offset 10m > 1",
        );
        let metric = |name: &str, labels: &[&str]| {
            (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            found.metrics,
            [metric("a_seconds_bucket", &["route", "code"]), metric("b_total", &[]), metric("b_total", &[])]
        );
        assert_eq!(found.grouping, ["le", "job"]);
    }

    #[test]
    fn what_is_left_is_the_side_that_must_not_be_empty() {
        let cases = [
            ("max by (p) (halted) == 1", "max by (p) (halted) "),
            ("(sum(up{job=\"x\"}) or vector(0)) == 0", "(sum(up{job=\"x\"}) )"),
            ("a{s=\"5\"} / b > 0.01", "a{s=\"5\"} / b "),
            ("a > b", "a > b"),
            ("x > 0 or y unless y offset 1h", "x or y unless y offset 1h"),
        ];
        for (expression, left) in cases {
            assert_eq!(without_conditions(expression).trim_end(), left.trim_end());
        }
    }
}
