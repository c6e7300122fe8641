//! What an error of the database asks the caller to do. Classified here, beside sqlx; everybody else
//! sees the intent (R23).

/// An error of the database, outside COMMIT.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data cannot be stored: integrity or data exception. The same data fails again.
    #[error("the database refuses the data: SQLSTATE {sqlstate}, constraint {}", constraint.as_deref().unwrap_or("-"))]
    Data {
        /// The error's class and code.
        sqlstate: String,
        /// The constraint, if one refused.
        constraint: Option<String>,
    },
    /// No answer in time: the connection is of no use any more.
    #[error("the database did not answer within the deadline")]
    Deadline,
    /// A server in recovery: nothing decisive is read from it, nothing can be written.
    #[error("the server is in recovery")]
    NotWritable,
    /// Between us and the server is a pooler that does not keep a session together: its timeouts would not hold,
    /// and statements that were prepared would be another's (pitfalls 51). A person connects us elsewhere.
    #[error(
        "the connection goes through a pooler that does not keep the session (PgBouncer in transaction mode?): \
         --database-url must lead to PostgreSQL itself"
    )]
    Pooled,
    /// Everything else passes, or is put right by a person: try again.
    #[error("{}", describe(.0))]
    Retry(sqlx::Error),
}

impl StoreError {
    /// Whether the connection can be used again at once. After any other error it is dropped: the server
    /// then frees the locks of what was under way, which an idle connection would keep.
    #[must_use]
    pub const fn leaves_connection_usable(&self) -> bool {
        match self {
            Self::Data { .. } => true,
            Self::Deadline | Self::NotWritable | Self::Pooled | Self::Retry(_) => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(answer) = &error
            && let Some(sqlstate) = answer.code().filter(|code| is_data_error(code))
        {
            return Self::Data {
                sqlstate: sqlstate.into_owned(),
                constraint: answer.constraint().map(str::to_owned),
            };
        }
        if is_pooled(&error) { Self::Pooled } else { Self::Retry(error) }
    }
}

/// What only a pooler makes of what we ask for: a startup setting that is not supported; a prepared statement
/// that is there already, or not any more.
fn is_pooled(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(answer) = error else { return false };
    match answer.code().as_deref() {
        Some("42P05" | "26000") => true,
        Some("08P01") => answer.message().contains("unsupported startup parameter"),
        _ => false,
    }
}

/// Classes 22 (data exception), 23 (integrity constraint violation) and 54 (program limit exceeded,
/// such as an index row that is too long) come from the data; bisection finds the record.
fn is_data_error(sqlstate: &str) -> bool {
    ["22", "23", "54"].iter().any(|class| sqlstate.starts_with(class))
}

/// The error without what the server quotes of the data (its DETAIL), and without an address.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(answer) => {
            format!("SQLSTATE {}: {}", answer.code().as_deref().unwrap_or("-"), answer.message())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_errors_are_blamed_on_a_record() {
        for sqlstate in ["22021", "22P05", "23505", "23514", "54000"] {
            assert!(is_data_error(sqlstate), "{sqlstate}");
        }
        for sqlstate in [
            "08006", "25P02", "40001", "40P01", "42P01", "53100", "53300", "55P03", "57014", "57P01", "XX000",
        ] {
            assert!(!is_data_error(sqlstate), "{sqlstate}");
        }
    }
}
