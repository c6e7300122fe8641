//! `checks monitoring-check`: what watches Telex is itself watched. `promtool` reads and tests the rules; every
//! metric and label that a rule or a dashboard names has to be in the documents; then a real Prometheus scrapes a
//! running Telex under load and in trouble, and every expression of every panel and alert has to return something. What
//! asks for metrics of others has to be an expression at least: nobody here serves them.

mod catalog;
mod dashboards;
mod expression;
mod prometheus;
mod runbooks;
mod tested;
mod trouble;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dev_env::commands::build::Profile;
use dev_env::commands::environment::Environment;
use dev_env::commands::steps::{say, step};
use dev_env::debian::{KCAT, PROMETHEUS};
use dev_env::interrupt;
use dev_env::process::{Server, Spec};
use dev_env::workspace::Workspace;
use nix::sys::signal::Signal;

use self::catalog::Catalog;
use self::dashboards::Query;
use self::expression::{names, without_conditions};
use self::prometheus::{Prometheus, Rule, Targets, promtool, rules_of};
use self::runbooks::Runbooks;

/// A rate needs two samples of a series, the counters of partitions are looked at every fifteen seconds, and a
/// subquery by the minute has nothing before a full minute has passed on the clock.
const VALUES_WITHIN: Duration = Duration::from_secs(120);

/// Alerts on metrics of others, none of which is here: promtool and the documents are what they are held against.
const PLATFORM: &str = "platform.rules.yml";
/// Fires as long as alerts can be heard: it must reach no person, so it is neither a page nor a ticket.
const WATCHDOG: &str = "TelexWatchdog";

/// What an alert is held against.
struct Known {
    catalog: Catalog,
    runbooks: Runbooks,
    tested: BTreeSet<String>,
}

pub fn run(workspace: &Workspace) -> Result<()> {
    let monitoring = workspace.root().join("monitoring");
    let (prometheus, kcat) =
        step("Prometheus and kcat", || Ok((PROMETHEUS.ensure(workspace)?, KCAT.ensure(workspace)?)))?;
    step("promtool: configuration, rules, tests of the rules", || {
        promtool(&prometheus, &monitoring, &["check", "config", "prometheus.yml"])?;
        promtool(&prometheus, &monitoring, &["check", "rules", PLATFORM])?;
        promtool(
            &prometheus,
            &monitoring,
            &["test", "rules", "telex.rules.test.yml", "platform.rules.test.yml"],
        )
    })?;
    let known = Known {
        catalog: Catalog::read(workspace)?,
        runbooks: step("links to the runbooks", || Runbooks::read(workspace.root(), &monitoring))?,
        tested: tested::expected_alerts(&monitoring.join("prometheus"))?,
    };
    step("alerts of what runs Telex", || {
        check_rules(&known, &rules_of(&monitoring.join("prometheus").join(PLATFORM))?)
    })?;
    let panels = step("dashboards", || {
        let panels = dashboards::read(&monitoring)?;
        all_known(&known.catalog, &panels)?;
        Ok(panels)
    })?;

    let directory = workspace.tests().join(std::process::id().to_string());
    let mut environment = Environment::fresh(workspace, Profile::Release, &directory)?;
    let strict = trouble::strict_api(&environment, &directory)?;
    let [one, two] = &environment.processors;
    let targets = Targets {
        ingest_apis: &[environment.ingest_api.admin, strict.admin],
        processors: &[one.admin, two.admin],
    };
    let server =
        step("Prometheus starts", || Prometheus::start(&prometheus, &monitoring, &directory, &targets))?;
    let rules = server.rules()?;
    step(&format!("{} alerts", rules.len()), || check_rules(&known, &rules))?;
    let load = load(&environment, &directory)?;
    step("load, and trouble", || trouble::make(&mut environment, &strict, &kcat, &directory))?;
    let (of_others, panels): (Vec<Query>, Vec<Query>) =
        panels.into_iter().partition(|it| known.catalog.is_of_others(&names(&it.expression)));
    step("panels of what runs Telex", || accepted(&server, &of_others))?;
    let queries = all_queries(panels, &rules);
    let verdict = step(&format!("{} expressions have values", queries.len()), || evaluate(&server, &queries));
    drop((load, strict));
    server.stop()?;
    // A PostgreSQL of which nothing is kept needs no orderly end; a halted partition is no failure here.
    drop(environment);
    std::fs::remove_dir_all(&directory).ok();
    verdict?;
    for (metric, cause) in trouble::RARE {
        say(&format!("  not seen, as nothing here brings it about: {metric} ({cause})"));
    }
    Ok(())
}

/// Webhooks, until it is dropped.
fn load(environment: &Environment, directory: &Path) -> Result<Server> {
    let mut command = Command::new(environment.programs.binaries.join("loadtest"));
    command.args([
        "run",
        "--url",
        &environment.url(),
        "--messages",
        "100000",
        "--rate",
        "300",
        "--connections",
        "16",
    ]);
    Server::spawn(Spec { name: "loadtest", directory, command, stop_signal: Signal::SIGINT })
}

fn all_known(catalog: &Catalog, queries: &[Query]) -> Result<()> {
    let problems: Vec<String> = queries
        .iter()
        .flat_map(|query| {
            let unknown = catalog.unknown(&names(&query.expression));
            unknown.into_iter().map(|problem| format!("{}: {problem}", query.place))
        })
        .collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// What promtool does not know: our metrics, our runbooks, and that each alert has a test.
fn check_rules(known: &Known, rules: &[Rule]) -> Result<()> {
    ensure!(!rules.is_empty(), "Prometheus has read no alert");
    let mut problems = Vec::new();
    for rule in rules {
        let mut say = |what: String| problems.push(format!("{}: {what}", rule.name));
        known.catalog.unknown(&names(&rule.query)).into_iter().for_each(&mut say);
        let says = |name: &str| rule.annotations.get(name).map(String::as_str).unwrap_or_default();
        let severities: &[&str] = if rule.name == WATCHDOG { &["heartbeat"] } else { &["page", "ticket"] };
        if !rule.labels.get("severity").is_some_and(|it| severities.contains(&it.as_str())) {
            say(format!("severity must be {}", severities.join(" or ")));
        }
        if says("summary").is_empty() {
            say("needs a summary".to_owned());
        }
        if says("description").is_empty() {
            say("needs a description: what to look at first".to_owned());
        }
        if !known.runbooks.has_section(says("runbook_url")) {
            say(format!("its runbook leads nowhere: {:?}", says("runbook_url")));
        }
        if !known.tested.contains(&rule.name) {
            say("no test of the rules expects it".to_owned());
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Of panels as they are, but for what stands in for nothing; of alerts what they compare.
fn all_queries(panels: Vec<Query>, rules: &[Rule]) -> Vec<Query> {
    let alerts = rules
        .iter()
        .map(|rule| Query { place: format!("alert {}", rule.name), expression: rule.query.clone() });
    panels
        .into_iter()
        .chain(alerts)
        .map(|query| Query { expression: without_conditions(&query.expression), ..query })
        .filter(|query| {
            let named = names(&query.expression).metrics;
            !named.iter().any(|(name, _)| trouble::RARE.iter().any(|(rare, _)| rare == name))
        })
        .collect()
}

/// Prometheus takes each of them, whatever it knows of what they ask for.
fn accepted(server: &Prometheus, queries: &[Query]) -> Result<()> {
    for query in queries {
        server.has_value(&query.expression).with_context(|| query.place.clone())?;
    }
    Ok(())
}

fn evaluate(server: &Prometheus, queries: &[Query]) -> Result<()> {
    let end = Instant::now() + VALUES_WITHIN;
    let mut open: Vec<&Query> = queries.iter().collect();
    loop {
        let mut empty = Vec::new();
        for query in open {
            if !server.has_value(&query.expression)? {
                empty.push(query);
            }
        }
        if empty.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            let lines: Vec<String> =
                empty.iter().map(|query| format!("  {}: {}", query.place, query.expression)).collect();
            bail!("these return nothing:\n{}", lines.join("\n"));
        }
        open = empty;
        interrupt::pause(Duration::from_secs(1))?;
    }
}
