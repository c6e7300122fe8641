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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster, compose, k8s};

    /// The table in docs/kubernetes.md. What else it names is tried by `cluster-check` itself and by the processor's tests.
    #[test]
    fn what_has_broken_on_a_real_cluster_is_planted() {
        for (mistakes, find, replace, rule) in [
            // Brokers are shut off from the API server.
            (k8s::MISTAKES, "port: 443\n", "port: 444\n", "network"),
            // `prove` has no scratch volume, or one without a limit.
            (k8s::MISTAKES, "mountPath: /scratch", "mountPath: /tmp", "scratch"),
            (k8s::MISTAKES, "sizeLimit: 20Gi", "medium: Memory", "scratch"),
            (compose::MISTAKES, "tmpfs: [\"/scratch", "tmpfs: [\"/tmp", "scratch"),
            // A Kafka user has a right too many.
            (k8s::MISTAKES, "- Write\n", "- All\n", "acl"),
            // A mount without a volume.
            (cluster::MISTAKES, "name: kafka\n", "name: properties\n", "objects"),
            // Partition counts differ: of the topic, the API, the autoscaler, the plain servers, compose.
            (k8s::MISTAKES, "partitions: 12", "partitions: 6", "partitions"),
            (k8s::MISTAKES, "value: \"12\"", "value: \"6\"", "partitions"),
            (k8s::MISTAKES, "maxReplicaCount: 12", "maxReplicaCount: 13", "partitions"),
            (k8s::MISTAKES, "--partitions=12", "--partitions=6", "partitions"),
            (compose::MISTAKES, "--partitions=${TELEX_PARTITIONS:-12}", "--partitions=24", "topic"),
            // A document has a command that the program does not take, or that its role may not.
            (k8s::MISTAKES, "--to 24", "--by 24", "documented"),
            (k8s::MISTAKES, "k8s/operate partitions switch", "kubectl exec deploy/processor", "documented"),
        ] {
            let is_it =
                |(_, from, to, by): &Mistake| from.contains(find) && to.contains(replace) && *by == rule;
            assert!(mistakes.iter().any(is_it), "{replace:?} for {find:?} is planted for no {rule}");
        }
    }
}
