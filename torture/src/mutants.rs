//! Planted bugs: patches in `torture/mutants/`, applied one at a time to a copy of the sources. A harness that
//! misses one proves nothing by finding none.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use dev_env::{
    interrupt,
    process::{Group, from_shell, require},
    workspace::Workspace,
};
use serde::{Deserialize, Serialize};

use crate::{
    bench::{Bench, say, version},
    faults,
    verdict::Verdict,
};

/// What is planted, and what has to find it.
const MANIFEST: &str = include_str!("../mutants/manifest.toml");
/// A bug must be found within so many runs.
const TRIES: u64 = 3;
/// The first build takes all dependencies, librdkafka too: minutes on two cores. Later ones take a package or two.
const BUILD_WITHIN: Duration = Duration::from_secs(30 * 60);
/// The servers start within a minute, and the waits of a test add up to a few more: one that takes longer hangs, maybe
/// because of the bug.
const TEST_WITHIN: Duration = Duration::from_secs(15 * 60);
/// The last result, beside that of the long run.
const RESULT: &str = "mutants.json";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    mutants: Vec<Mutant>,
}

/// A bug that is planted by the patch of its name.
#[derive(Debug, Deserialize)]
pub struct Mutant {
    /// The patch, without `.patch`.
    pub bug: String,
    pub breaks: String,
    #[serde(flatten)]
    pub finder: Finder,
}

/// What brings a bug to light.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Finder {
    /// A fault that happens to a running Telex.
    Fault {
        fault: String,
        /// The invariants, one of which must not hold.
        finds: Vec<String>,
    },
    /// A test of a program or of the contract.
    Test {
        /// Its target, `lib`, `it` or `http`, and its path there.
        test: String,
    },
}

impl Finder {
    /// What a person calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Fault { fault, .. } => fault.clone(),
            Self::Test { test } => test.rsplit("::").next().unwrap_or_default().replace('_', " "),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    pub bug: String,
    /// What is wrong with it.
    pub breaks: String,
    /// The fault or the test that was to find it.
    #[serde(alias = "fault")]
    pub sought_by: String,
    /// The invariants that did not hold, or the test that failed; none: it was missed.
    pub found_by: Vec<String>,
    /// The commit that it was planted in.
    #[serde(default)]
    pub version: String,
}

pub fn all() -> Result<Vec<Mutant>> {
    Ok(toml::from_str::<Manifest>(MANIFEST).context("torture/mutants/manifest.toml")?.mutants)
}

/// What was found the last time that each bug was planted, in the manifest's order; empty if none ever was.
pub fn last(results: &Path) -> Vec<Finding> {
    let text = fs::read(results.join(RESULT)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Keeps what was found in the place of what was found before.
fn keep(results: &Path, findings: &[Finding]) -> Result<()> {
    let before = last(results);
    let of = |bug: &str| {
        let same = |finding: &&Finding| finding.bug == bug;
        findings.iter().find(same).or_else(|| before.iter().find(same)).cloned()
    };
    let kept: Vec<Finding> = all()?.iter().filter_map(|mutant| of(&mutant.bug)).collect();
    Ok(fs::write(results.join(RESULT), serde_json::to_vec_pretty(&kept)?)?)
}

/// Plants each bug, or those in `only`; whether all were found.
pub fn run(bench: &mut Bench, workspace: &Workspace, only: &[String]) -> Result<bool> {
    let copy = Copy::new(workspace);
    let dev_env = bench.stage.options.binaries.join("dev-env");
    bench.stage.options.catch_up = Duration::from_secs(25);
    bench.stage.options.is_planted = true;
    bench.stage.options.binaries = copy.target.join("debug");
    let (version, results) = (version(workspace), workspace.dev().join("torture"));
    let (mut findings, mut untried) = (Vec::new(), 0);
    for mutant in all()?.into_iter().filter(|mutant| only.is_empty() || only.contains(&mutant.bug)) {
        let Mutant { bug, breaks, finder } = mutant;
        let sought_by = finder.name();
        let found_by = match sought(bench, &copy, &dev_env, &bug, finder) {
            Ok(found_by) => found_by,
            // Not found; the others still may be, unless a person has enough.
            Err(error) => {
                interrupt::check()?;
                say(&format!("{bug:<24} NOT TRIED: {error:#}"));
                untried += 1;
                continue;
            }
        };
        let word = if found_by.is_empty() { "MISSED" } else { "found" };
        say(&format!("{bug:<24} {word} in {sought_by} by {}", found_by.join(", ")));
        findings.push(Finding { bug, breaks, sought_by, found_by, version: version.clone() });
        keep(&results, &findings)?;
    }
    let found = findings.iter().filter(|finding| !finding.found_by.is_empty()).count();
    let bugs = findings.len() + untried;
    say(&format!("{found} of {bugs} planted bugs found, seed {}", bench.seed));
    Ok(found == bugs)
}

/// Plants a bug and looks for it: by what it was found.
fn sought(bench: &mut Bench, copy: &Copy, dev_env: &Path, bug: &str, finder: Finder) -> Result<Vec<String>> {
    copy.plant(bug)?;
    match finder {
        Finder::Fault { fault, finds } => violated(bench, &fault, &finds),
        Finder::Test { test } => {
            let fails = copy.fails(dev_env, &test)?;
            Ok(if fails { vec!["the test".to_owned()] } else { Vec::new() })
        }
    }
}

/// Which of the invariants do not hold when the fault happens.
fn violated(bench: &mut Bench, fault: &str, finds: &[String]) -> Result<Vec<String>> {
    let fault = faults::find(fault)?;
    let mut is_missed = false;
    for turn in 0..TRIES {
        bench.stage.options.seed = bench.seed + turn;
        let verdict = bench.run(fault)?;
        let violated = verdict.violated();
        let named = finds.iter().filter(|name| violated.contains(&name.as_str()));
        let named: Vec<String> = named.cloned().collect();
        if !named.is_empty() {
            return Ok(named);
        }
        is_missed |= !matches!(verdict, Verdict::Invalid(_));
    }
    ensure!(is_missed, "no run of {} says anything", fault.id);
    Ok(Vec::new())
}

/// A copy of the sources, with their changes that are not committed, and what is built of it. Whatever a run that was
/// interrupted has left in it, the next one makes it what the sources are.
struct Copy {
    root: PathBuf,
    tree: PathBuf,
    target: PathBuf,
    /// What the command that runs says, for a person who waits.
    logs: PathBuf,
}

/// A command that has ended.
struct Ended {
    is_success: bool,
    stdout: String,
    stderr: String,
}

impl Copy {
    fn new(workspace: &Workspace) -> Self {
        let mutants = workspace.dev().join("mutants");
        let (tree, target) = (mutants.join("tree"), mutants.join("target"));
        Self { root: workspace.root().to_owned(), tree, target, logs: mutants }
    }

    /// Makes the copy what the sources are, but for one bug, and builds it.
    fn plant(&self, bug: &str) -> Result<()> {
        self.refresh()?;
        let patch = self.root.join("torture/mutants").join(format!("{bug}.patch"));
        let mut apply = Command::new("git");
        // The copy lies in the repository, and is none: without this the patch would be for that one.
        apply.env("GIT_CEILING_DIRECTORIES", self.tree.parent().context("no parent")?);
        apply.arg("apply").arg(&patch).current_dir(&self.tree);
        require(&mut apply, "").with_context(|| format!("{bug}.patch"))?;
        let mut build = from_shell("cargo");
        build.args(["build", "--locked", "--quiet", "--workspace", "--bin=ingest-api", "--bin=processor"]);
        build.args(["--features", "processor/failpoints"]).current_dir(&self.tree);
        let built = self.run(build, BUILD_WITHIN)?;
        ensure!(built.is_success, "the build with {bug} failed: {}", built.stderr);
        Ok(())
    }

    /// Runs a command on the copy to its end. When `limit` is over, or a person has enough, it is ended with all that it
    /// has started.
    fn run(&self, mut command: Command, limit: Duration) -> Result<Ended> {
        let (stdout, stderr) = (self.logs.join("stdout.log"), self.logs.join("stderr.log"));
        command.env("CARGO_TARGET_DIR", &self.target).env("SQLX_OFFLINE", "true");
        command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let program = command.get_program().to_string_lossy().into_owned();
        let status = Group::spawn(&mut command)?.wait_within(limit).context(program)?;
        let text = |log: &Path| fs::read(log).map(|said| String::from_utf8_lossy(&said).into_owned());
        Ok(Ended { is_success: status.success(), stdout: text(&stdout)?, stderr: text(&stderr)? })
    }

    /// Whether a test of the planted copy fails. Its servers are those of `dev-env with-services`; they run only once it
    /// is built.
    fn fails(&self, dev_env: &Path, test: &str) -> Result<bool> {
        let (target, path) = test.split_once("::").with_context(|| format!("no target in {test}"))?;
        let (arguments, manifest) = (cargo_test(target)?, self.tree.join("Cargo.toml"));
        let mut build = from_shell("cargo");
        build.args(&arguments).arg("--manifest-path").arg(&manifest).arg("--no-run").current_dir(&self.root);
        let built = self.run(build, BUILD_WITHIN)?;
        ensure!(built.is_success, "the build of {test} failed: {}", built.stderr);
        let mut run = Command::new(dev_env);
        run.args(["with-services", "--", "cargo"]).args(&arguments).arg("--manifest-path").arg(&manifest);
        run.args(["--", path]).env("TELEX_BIN_DIR", self.target.join("debug")).current_dir(&self.root);
        let told = self.run(run, TEST_WITHIN)?;
        // A test with cases has a name for each of them behind its own.
        let says = |word: &str| {
            told.stdout.lines().any(|line| {
                let rest = line.strip_prefix("test ").and_then(|line| line.strip_prefix(path));
                rest.is_some_and(|rest| {
                    (rest.starts_with(" ...") || rest.starts_with("::")) && rest.ends_with(word)
                })
            })
        };
        match (says("FAILED"), says("ok")) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => bail!("{test} did not run: {}", told.stderr),
        }
    }

    /// Writes only what differs, so that cargo builds only that again.
    fn refresh(&self) -> Result<()> {
        let files = tracked(&self.root)?;
        for file in &files {
            let (from, to) = (self.root.join(file), self.tree.join(file));
            // Deleted, and not committed yet.
            let Ok(content) = fs::read(&from) else {
                fs::remove_file(&to).ok();
                continue;
            };
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::create_dir_all(to.parent().context("no parent")?)?;
                fs::write(&to, content)?;
                fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
            }
        }
        remove_others(&self.tree, &self.tree, &files)
    }
}

/// What cargo is asked for. All packages at once, as everywhere: a part of them asks for fewer features of the
/// dependencies, and these would be built twice.
fn cargo_test(target: &str) -> Result<Vec<&str>> {
    let target: &[&str] = match target {
        "lib" => &["--lib"],
        "it" => &["--test", "it"],
        "http" => &["--test", "http"],
        other => bail!("no target {other}"),
    };
    let command = ["test", "--locked", "--workspace"];
    Ok([&command, target].concat())
}

/// The files of the sources, relative to their root.
fn tracked(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let names = require(&mut list, "")?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}

/// A file that a patch made, or that is gone since, would be built as well.
fn remove_others(tree: &Path, directory: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(tree, &path, wanted)?;
        } else if path.strip_prefix(tree).is_ok_and(|relative| !wanted.contains(relative)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Whether a package has a test of this name in the file where its path says.
    fn exists(test: &str) -> bool {
        let (target, path) = test.split_once("::").unwrap();
        let (module, name) = path.rsplit_once("::").unwrap();
        let module = module.trim_end_matches("::tests").replace("::", "/");
        let directory = if target == "lib" { "src".to_owned() } else { format!("tests/{target}") };
        let texts = ["ingest-api", "processor", "schemas"].into_iter().flat_map(|package| {
            let base = sources().join(package).join(&directory);
            [base.join(format!("{module}.rs")), base.join(&module).join("tests.rs")]
        });
        let mut texts = texts.map(|file| fs::read_to_string(file).unwrap_or_default());
        texts.any(|text| text.contains(&format!("fn {name}(")))
    }

    #[test]
    fn each_bug_has_a_patch_that_applies_and_a_fault_that_exists() {
        for Mutant { bug, finder, .. } in all().unwrap() {
            match finder {
                Finder::Fault { fault, finds } => {
                    faults::find(&fault).unwrap();
                    assert!(!finds.is_empty(), "{bug}");
                }
                Finder::Test { test } => assert!(exists(&test), "{test}"),
            }
            let patch = format!("torture/mutants/{bug}.patch");
            let mut check = Command::new("git");
            check.args(["apply", "--check", &patch]).current_dir(sources());
            require(&mut check, "").unwrap();
        }
    }

    #[test]
    fn each_patch_is_in_the_manifest() {
        let planted: BTreeSet<String> = all().unwrap().into_iter().map(|mutant| mutant.bug).collect();
        let files = fs::read_dir(sources().join("torture/mutants")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let patches: BTreeSet<String> =
            names.filter_map(|name| name.strip_suffix(".patch").map(str::to_owned)).collect();
        assert_eq!(patches, planted);
    }
}
