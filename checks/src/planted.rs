//! Mistakes made on purpose. A check that has never failed proves nothing: every rule is shown a file that breaks it.

use anyhow::{Context as _, Result, ensure};

use crate::Finding;
use crate::files::Files;

/// One mistake: in this file this text, replaced by that one, must be found by this rule.
pub type Mistake = (&'static str, &'static str, &'static str, &'static str);

/// Makes each mistake alone. The check is told in which file, so that it need not look where nothing has changed.
pub fn all_are_found(
    mistakes: &[Mistake],
    files: &Files,
    check: impl Fn(&Files, Option<&str>) -> Result<Vec<Finding>>,
) -> Result<()> {
    let mut unseen = String::new();
    for (path, find, replace, rule) in mistakes {
        let broken = files.with(path, find, replace)?;
        let findings = check(&broken, Some(*path)).with_context(|| format!("{path} with {replace:?}"))?;
        if !findings.iter().any(|finding| finding.rule == *rule) {
            let others = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            unseen +=
                &format!("\n  in {path}, {replace:?} for {find:?} is not found by {rule}. Found: {others}");
        }
    }
    ensure!(unseen.is_empty(), "{unseen}");
    Ok(())
}
