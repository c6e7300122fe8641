//! The documents, and what of one is prose, what is shown as code, and which sections it has.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::require;

/// The documents that say what is, by their paths from the root.
pub fn documents(root: &Path) -> Result<Vec<String>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]);
    let names = require(list.current_dir(root), "apt-get install git")?;
    let names = names.split_terminator('\0').filter(|name| !is_history(name) && root.join(name).exists());
    Ok(names.map(ToOwned::to_owned).collect())
}

/// Whether a document says what was, by the names that things had then.
pub fn is_history(name: &str) -> bool {
    name == "CHANGELOG.md" || name.starts_with("docs/adr/")
}

/// The lines outside of fenced blocks, with their numbers.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fenced && !is_fence).then_some((index + 1, line))
    })
}

/// What stands between backticks in a line, and the line without it.
pub fn code(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let inside = parts.iter().skip(1).step_by(2).copied().collect();
    (inside, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("``"))
}

/// What is shown as code, with the number of its line: each span between backticks, and each line of a fenced block, as
/// one with those that it goes on in.
pub fn shown(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    let mut begun = String::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            is_fenced = !is_fenced;
            begun.clear();
        } else if !is_fenced {
            found.extend(code(line).0.into_iter().map(|span| (index + 1, span.to_owned())));
        } else if let Some(beginning) = trimmed.strip_suffix('\\') {
            begun += beginning;
        } else {
            found.push((index + 1, mem::take(&mut begun) + trimmed));
        }
    }
    found
}

/// The names by which a page's sections are linked to, as GitHub makes them: lower case, without punctuation, spaces
/// as hyphens, a number at what comes again; and those that the page gives.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let named = prose(text)
        .filter_map(|(_, line)| Some(line.split_once("<a id=\"")?.1.split_once('"')?.0.to_owned()));
    headings
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().replace('`', "");
            let anchor: String = title
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
        })
        .chain(named)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_several_lines_is_one() {
        let text = "Type `make x`, or:\n```sh\nmake y \\\n  A=1\nmake z\n```\n`--b`\n";
        let expected = [(1, "make x"), (4, "make y A=1"), (5, "make z"), (7, "--b")];
        assert_eq!(shown(text), expected.map(|(line, shown)| (line, shown.to_owned())));
    }

    #[test]
    fn sections_are_named_as_github_names_them() {
        let text = "# A `b`: c, d!\n\n```\n# not one\n```\n\n## Ä/e\n\n## e\n\n## e\n\n<a id=\"f\"></a>\n";
        assert_eq!(anchors(text), BTreeSet::from(["a-b-c-d", "äe", "e", "e-1", "f"].map(str::to_owned)));
    }

    #[test]
    fn a_heading_has_the_anchor_that_github_gives_it() {
        let text = "# The ingest API answers 503\n# `dead-letters replay`, again\n";
        let expected = ["the-ingest-api-answers-503", "dead-letters-replay-again"];
        assert_eq!(anchors(text), BTreeSet::from(expected.map(str::to_owned)));
    }
}
