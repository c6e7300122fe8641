//! `processor dialog-rules`: when a dialog ends because its client has been silent.

use std::{fmt::Write as _, str::FromStr, time::Duration};

use anyhow::{Context as _, bail};
use service_kit::confirmation::Confirmation;

use super::{operator::Operator, output::say, rights, topic};
use crate::{
    domain::rules::{DialogRule, DialogRules, IdleGap},
    kafka::client::KafkaConfig,
    store::{
        Database, StoreError,
        halts::Decision,
        registry::Topic,
        rights::SET_RULES,
        rules::{self, Change},
    },
};

/// How often a change is tried while processors are at work.
const TRIES_MAX: u32 = 5;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the rules in force for new records.
    Show,
    /// Replace the rules. The new ones hold from the next offset of every partition on, and for nothing
    /// before it.
    Set {
        /// `[PREFIX=]GAP`, once per rule. Clients whose `external_client_id` begins with PREFIX (without one,
        /// all clients) get a new dialog after a silence of GAP (`90s`, `30m`, `24h`, `7d` or `never`). The
        /// longest prefix decides.
        #[arg(long = "idle-gap", value_name = "[PREFIX=]GAP", required_unless_present = "none")]
        idle_gaps: Vec<RuleArgument>,
        /// Set no rules: only commands end dialogs.
        #[arg(long, conflicts_with = "idle_gaps")]
        none: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operator: Operator,
    },
}

/// A rule on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleArgument(DialogRule);

impl FromStr for RuleArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, gap) = text.rsplit_once('=').unwrap_or(("", text));
        if prefix.chars().any(char::is_control) || prefix.chars().count() > 128 {
            return Err("a prefix must have at most 128 characters, none of them a control character");
        }
        let idle_gap = match gap {
            "never" => None,
            gap => Some(parse_gap(gap).ok_or("a gap must be 1s to 3650d (units s, m, h, d), or never")?),
        };
        Ok(Self(DialogRule { prefix: prefix.to_owned(), idle_gap }))
    }
}

fn parse_gap(text: &str) -> Option<IdleGap> {
    let unit = text.chars().last()?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    IdleGap::from_seconds(number.checked_mul(seconds)?)
}

/// Shows or sets.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the rules cannot be.
pub async fn run(command: Command, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<()> {
    match command {
        Command::Show => {
            let (topic, _) = topic::registered(database, kafka).await?;
            show(database, topic).await
        }
        Command::Set { idle_gaps, none: _, confirmation, operator } => {
            let rules = rules_of(idle_gaps)?;
            let (topic, _) = topic::registered(database, kafka).await?;
            set(database, topic, &rules, confirmation, operator).await
        }
    }
}

fn rules_of(arguments: Vec<RuleArgument>) -> anyhow::Result<DialogRules> {
    let mut rules: Vec<DialogRule> = arguments.into_iter().map(|RuleArgument(rule)| rule).collect();
    if rules.len() > DialogRules::RULES_MAX {
        bail!("there may be at most {} rules", DialogRules::RULES_MAX);
    }
    rules.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    if rules.windows(2).any(|pair| matches!(pair, [a, b] if a.prefix == b.prefix)) {
        bail!("two rules have the same prefix");
    }
    Ok(DialogRules::new(rules))
}

async fn show(database: &Database, topic: Topic) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let Some(version) = rules::latest_version(&mut connection, topic.topic_ref).await? else {
        return Ok(say("no rules were ever set: only commands end dialogs")?);
    };
    let versions = rules::dialog_rules(&mut connection, topic.topic_ref).await?;
    let rules = versions.get(&version).map(|rules| describe(rules)).unwrap_or_default();
    Ok(say(&format!("version {version}{rules}"))?)
}

async fn set(
    database: &Database,
    topic: Topic,
    rules: &DialogRules,
    confirmation: Confirmation,
    operator: Operator,
) -> anyhow::Result<()> {
    rights::require(&mut database.writer().await?, SET_RULES).await?;
    if confirmation.is_dry_run() {
        return Ok(say(&format!("dry run, nothing is changed{}", describe(rules)))?);
    }
    let decision = operator.decision("dialog_rules_set".to_owned());
    let mut tries = 1;
    let version = loop {
        match change(database, topic, rules, &decision).await {
            Ok(version) => break version,
            // The processors' transactions hold the rows too, and may have been first.
            Err(error) if tries < TRIES_MAX && error.may_pass() => {
                tracing::warn!(%error, tries, "rules not set, trying again")
            }
            Err(error) => return Err(error).context("cannot set the rules"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let sentence =
        "in force from the next offset of every partition; processors take their partitions up again";
    Ok(say(&format!("version {version} is {sentence}{}", describe(rules)))?)
}

async fn change(
    database: &Database,
    topic: Topic,
    rules: &DialogRules,
    decision: &Decision,
) -> Result<i32, StoreError> {
    let mut connection = database.writer().await?;
    Change::begin(&mut connection, topic.topic_ref).await?.follow(rules, decision).await
}

fn describe(rules: &DialogRules) -> String {
    let mut lines = String::new();
    for rule in rules.as_slice() {
        let gap = rule.idle_gap.map_or_else(|| "never".to_owned(), |gap| format!("{} s", gap.as_seconds()));
        // Writing to a string does not fail.
        let _infallible = write!(lines, "\n  {:<32} {gap}", format!("\"{}\"", rule.prefix)).is_err();
    }
    if lines.is_empty() { "\n  no rules: only commands end dialogs".to_owned() } else { lines }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("24h", "", Some(86_400))]
    #[case("wa-=30m", "wa-", Some(1_800))]
    #[case("a=b=7d", "a=b", Some(604_800))]
    #[case("mail-=never", "mail-", None)]
    fn a_rule_is_a_prefix_and_a_gap(#[case] text: &str, #[case] prefix: &str, #[case] seconds: Option<i64>) {
        let RuleArgument(rule) = text.parse().unwrap();
        assert_eq!((rule.prefix.as_str(), rule.idle_gap.map(IdleGap::as_seconds)), (prefix, seconds));
    }

    #[rstest]
    #[case("")]
    #[case("24")]
    #[case("0s")]
    #[case("-1h")]
    #[case("wa-=4000d")]
    #[case("9223372036854775807d")]
    #[case("1и")]
    fn what_is_no_gap_is_refused(#[case] text: &str) {
        assert!(text.parse::<RuleArgument>().is_err());
    }

    #[test]
    fn one_prefix_has_one_rule() {
        let parse = |texts: &[&str]| rules_of(texts.iter().map(|text| text.parse().unwrap()).collect());
        assert!(parse(&["1h", "2h"]).is_err());
        assert_eq!(parse(&["1h", "wa-=2h"]).unwrap().as_slice().len(), 2);
    }
}
