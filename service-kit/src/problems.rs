//! What is wrong with something that a person has written: told at once, each problem with its place and the rule.

/// What is wrong, a line each.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Problems(pub Vec<String>);

impl Problems {
    /// Remembers the rule if it does not hold.
    pub fn require(&mut self, holds: bool, rule: &str) {
        if !holds {
            self.push(rule);
        }
    }

    /// Remembers a problem.
    pub fn push(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// The value, unless something is wrong.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<String> for Problems {
    fn from(problem: String) -> Self {
        Self(vec![problem])
    }
}
