//! What a PromQL expression asks for, as far as the checks need it: a reader of tokens, not of the grammar;
//! Prometheus itself says whether an expression is one.

/// Functions' names are followed by a parenthesis; these words are neither functions nor metrics.
const WORDS: [&str; 12] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "and",
    "or",
    "unless",
    "atan2",
];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Metrics, each with the labels that its selector asks for.
    pub metrics: Vec<(String, Vec<String>)>,
    /// Labels by which it groups.
    pub grouping: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Text,
    Number(&'a str),
    Comparison,
    Sign(char),
}

/// The names in an expression.
pub fn names(expression: &str) -> Names {
    let tokens: Vec<Token<'_>> = tokens(expression).into_iter().map(|(_, token)| token).collect();
    let mut names = Names::default();
    let (mut in_braces, mut grouping) = (false, false);
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        match token {
            Token::Sign('{') => in_braces = true,
            Token::Sign('}') => in_braces = false,
            Token::Sign(')') => grouping = false,
            Token::Word(word) if in_braces => {
                if let Some((_, labels)) = names.metrics.last_mut() {
                    labels.push((*word).to_owned());
                }
            }
            Token::Word("by" | "without" | "on" | "ignoring") => grouping = true,
            Token::Word(word) if grouping => names.grouping.push((*word).to_owned()),
            // `sum(…)` and `sum by (…) (…)` are no metrics.
            Token::Word(_) if matches!(next, Some(Token::Sign('(') | Token::Word("by" | "without"))) => {}
            Token::Word(word) if !WORDS.contains(word) => {
                names.metrics.push(((*word).to_owned(), Vec::new()));
            }
            _ => {}
        }
    }
    names
}

/// The expression without what makes it empty while all is well: comparisons with a number, and the
/// `or vector(0)` that stands in for nothing. What is left has to return something.
pub fn without_conditions(expression: &str) -> String {
    let tokens = tokens(expression);
    let mut kept = String::new();
    let (mut index, mut from) = (0, 0);
    while let Some((start, token)) = tokens.get(index) {
        let dropped = match token {
            Token::Comparison if matches!(tokens.get(index + 1), Some((_, Token::Number(_)))) => 2,
            Token::Word("or") if is_vector_zero(&tokens, index + 1) => 5,
            _ => 0,
        };
        if dropped > 0 {
            kept.push_str(expression.get(from..*start).unwrap_or_default());
            from = tokens.get(index + dropped).map_or(expression.len(), |(start, _)| *start);
        }
        index += dropped.max(1);
    }
    kept.push_str(expression.get(from..).unwrap_or_default());
    kept
}

fn is_vector_zero(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    let wanted = [Token::Word("vector"), Token::Sign('('), Token::Number("0"), Token::Sign(')')];
    tokens.iter().skip(at).map(|(_, token)| *token).take(wanted.len()).eq(wanted)
}

/// Each token with its place. White space and comments are between them; braces hold matchers, whose `=` and
/// `=~` are signs here.
fn tokens(expression: &str) -> Vec<(usize, Token<'_>)> {
    let mut tokens = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let start = expression.len() - rest.len();
        let (length, token) = match first {
            '"' | '\'' => (text_length(rest, first), Some(Token::Text)),
            _ if first.is_whitespace() => (first.len_utf8(), None),
            _ if first.is_ascii_digit() => {
                let length = span(rest, |c| c.is_ascii_alphanumeric() || c == '.');
                (length, rest.get(..length).map(Token::Number))
            }
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let length = span(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
                (length, rest.get(..length).map(Token::Word))
            }
            '>' | '<' | '=' | '!' => {
                let length = span(rest, |c| matches!(c, '>' | '<' | '=' | '!' | '~'));
                (length, Some(Token::Comparison))
            }
            _ => (first.len_utf8(), Some(Token::Sign(first))),
        };
        tokens.extend(token.map(|token| (start, token)));
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn text_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return place + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
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
