//! Bugs planted on purpose, to see whether the torture harness finds them: a harness that misses one proves
//! nothing by finding none. Only with the feature `planted-bugs`, chosen by `TELEX_PLANT`; nothing that is
//! shipped is built with it.

/// The bugs, by their numbers in the list of what the harness must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The offset is committed in a transaction of its own, after the rows.
    M3,
    /// No compare-and-set: whoever comes last decides where the partition stands.
    M4,
    /// After an unknown outcome the batch is applied again, and the row is not asked.
    M5,
    /// The topic's id is not looked at, nor is the last applied record.
    M7,
    /// Dead letters are written after the transaction.
    M8,
    /// The ids of dialogs depend on when they were made.
    M10,
    /// An error of a statement is swallowed: COMMIT of the aborted transaction answers without one. Harmless
    /// while the compare-and-set notices that the row has not moved, so it comes with `M4`.
    M13,
    /// The position in memory is kept although the database has gone back.
    M14,
}

/// Whether a bug is planted: never, in what is shipped.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

/// Whether a bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is(bug: Bug) -> bool {
    static PLANTED: std::sync::LazyLock<String> = std::sync::LazyLock::new(read);
    *PLANTED == format!("{bug:?}") || (bug == Bug::M4 && *PLANTED == "M13")
}

#[cfg(feature = "planted-bugs")]
#[expect(clippy::disallowed_methods, reason = "not a setting: nothing that is shipped reads it")]
fn read() -> String {
    let planted = std::env::var("TELEX_PLANT").unwrap_or_default();
    if !planted.is_empty() {
        eprintln!("bug {planted} is planted");
    }
    planted
}
