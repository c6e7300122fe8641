//! Where alerts, their tests and the dashboards send a person. Whoever runs them puts the address at which the documents
//! are served in the place of ours (monitoring/README.md). Wherever that is, it is one, and what follows it is the page
//! of the runbooks with a section that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use dev_env::markdown::anchors;

/// By its path in the repository: an address ends with it.
const PAGE: &str = "docs/runbooks.md";

/// The page, and where it is served.
#[derive(Debug)]
pub struct Runbooks {
    served_at: String,
    sections: BTreeSet<String>,
}

impl Runbooks {
    /// Reads every address in the rules, their tests and the dashboards under `monitoring`. An error names those that
    /// lead nowhere, or elsewhere than the first.
    pub fn read(root: &Path, monitoring: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
        let mut links = Vec::new();
        for file in files(monitoring)? {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            links.extend(addresses(&text).map(|link| (file.display().to_string(), link)));
        }
        let first = links.iter().find_map(|(_, link)| Some(parts(link)?.0.to_owned()));
        let served_at = first.context("no alert and no dashboard leads to a runbook")?;
        let runbooks = Self { served_at, sections: anchors(&text) };
        let astray: Vec<String> = links
            .iter()
            .filter(|(_, link)| !runbooks.has(link))
            .map(|(file, link)| format!("  {file}: {link}"))
            .collect();
        let served_at = &runbooks.served_at;
        ensure!(astray.is_empty(), "not {served_at}{PAGE} or a section of it:\n{}", astray.join("\n"));
        Ok(runbooks)
    }

    /// Whether an address leads to a section, as that of an alert has to.
    pub fn has_section(&self, link: &str) -> bool {
        link.contains('#') && self.has(link)
    }

    fn has(&self, link: &str) -> bool {
        parts(link).is_some_and(|(served_at, section)| {
            served_at == self.served_at && section.is_none_or(|section| self.sections.contains(section))
        })
    }
}

fn files(monitoring: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (folder, part) in [("prometheus", ".rules."), ("grafana/dashboards", ".json")] {
        let folder = monitoring.join(folder);
        let entries =
            fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The addresses in a file, but for those of its comments.
fn addresses(text: &str) -> impl Iterator<Item = String> + '_ {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}');
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let addresses = lines.flat_map(|line| line.split("https://").skip(1));
    addresses.map(move |rest| format!("https://{}", rest.split(is_end).next().unwrap_or_default()))
}

/// What stands before the page, and the section.
fn parts(link: &str) -> Option<(&str, Option<&str>)> {
    let (page, section) = match link.split_once('#') {
        Some((page, section)) => (page, Some(section)),
        None => (link, None),
    };
    let served_at = page.strip_suffix(PAGE)?;
    (served_at.starts_with("https://") && served_at.ends_with('/')).then_some((served_at, section))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// `monitoring/` somewhere else, with what `change` makes of it there.
    fn changed(name: &str, change: &str) -> Result<Runbooks> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let copy = std::env::temp_dir().join(format!("telex-runbooks-{name}-{}", std::process::id()));
        fs::create_dir_all(&copy).unwrap();
        let script = format!("cp -r \"$0\" . && {change}");
        let mut bash = Command::new("bash");
        bash.current_dir(&copy).args(["-c", &script]).arg(fs::canonicalize(root.join("monitoring")).unwrap());
        assert!(bash.status().unwrap().success());
        let runbooks = Runbooks::read(&root, &copy.join("monitoring"));
        fs::remove_dir_all(&copy).unwrap();
        runbooks
    }

    #[test]
    fn the_command_of_the_guide_moves_every_link_to_where_the_documents_are_served() {
        let guide = include_str!("../../../../monitoring/README.md");
        let command = guide.lines().find(|line| line.starts_with("sed ")).unwrap();
        let (replaces, _) = command.split_once(" && make k8s-rules").unwrap();
        let runbooks = changed("guide", replaces).unwrap();
        assert_eq!(runbooks.served_at, "https://git.example.com/telex/blob/main/");
        let link = "https://git.example.com/telex/blob/main/docs/runbooks.md";
        assert!(runbooks.has_section(&format!("{link}#lag-grows")));
        assert!(!runbooks.has_section(link), "an alert names a section");
        assert!(
            !runbooks.has_section("https://telex.example/docs/runbooks.md#lag-grows"),
            "the former address"
        );
    }

    #[test]
    fn a_link_that_stays_behind_or_leads_nowhere_is_named() {
        let said = |name, change| format!("{:#}", changed(name, change).unwrap_err());
        let some = "sed -i 's|https://telex.example/|https://git.example.com/|' monitoring/prometheus/telex.rules.yml";
        assert!(said("some", some).contains("telex.rules.yml: https://git.example.com/docs/runbooks.md"));
        let typing_error = "sed -i 's|#lag-grows|#lag|' monitoring/prometheus/telex.rules.yml";
        assert!(said("error", typing_error).contains("telex.rules.yml: https://telex.example/"));
        let page = "sed -i 's|runbooks.md|runbooks.txt|' monitoring/grafana/dashboards/platform.json";
        assert!(said("page", page).contains("platform.json: https://telex.example/docs/runbooks.txt"));
    }
}
