//! What a check has found.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, in a word.
    pub rule: &'static str,
    /// Where: a service, an object, a line.
    pub place: String,
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.problem, self.rule)
    }
}

/// Findings as they are made.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn require(&mut self, holds: bool, rule: &'static str, place: &str, problem: impl Into<String>) {
        if !holds {
            self.0.push(Finding { rule, place: place.to_owned(), problem: problem.into() });
        }
    }

    pub fn note(&mut self, rule: &'static str, place: &str, problem: impl Into<String>) {
        self.require(false, rule, place, problem);
    }

    pub fn note_all(&mut self, rule: &'static str, place: &str, problems: impl IntoIterator<Item = String>) {
        problems.into_iter().for_each(|problem| self.note(rule, place, problem));
    }

    /// Everything, in the order in which it was found.
    pub fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
