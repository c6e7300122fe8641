//! The pages of a long run and of the planted bugs: each written from its result, never by hand.

use crate::{
    faults::FAULTS,
    mutants::{Finding, Mutant},
    report::Report,
};

/// What one run should come to.
const GOALS: [(&str, u64); 4] = [
    ("messages answered 202", 1_000_000),
    ("faults seen to bite", 250),
    ("kinds of faults", 15),
    ("faults of each kind", 8),
];

/// The page of a long run.
pub fn long(report: &Report) -> String {
    let mut page = head(report);
    page.push_str(&figures(report));
    page.push_str(&faults(report));
    page.push_str(&list("Violations", &report.violations));
    page.push_str(&list("Faults that count for nothing", &report.invalid));
    page.push_str(&again(report));
    page
}

fn head(report: &Report) -> String {
    let verdict = if report.has_held() { "Everything held" } else { "Not everything held" };
    format!(
        "# Torture\n\n\
         `torture page` writes this page from the result of `make torture`; \
         [ADR 0017](adr/0017-torture-harness-and-planted-bugs.md) says how it is made, and \
         [planted bugs](planted-bugs.md) what it would have found.\n\n\
         **{verdict}**: {acked} messages were answered 202, and {count} faults of {kinds} kinds happened meanwhile. \
         Broken promises: {violations}.\n\n",
        acked = grouped(report.acked()),
        count = report.count(),
        kinds = report.faults.len(),
        violations = report.violations_count,
    )
}

fn figures(report: &Report) -> String {
    let reached = [report.acked(), report.count(), report.faults.len() as u64, report.count_min()];
    let mut text = "| goal of one run | at least | reached |\n|---|---|---|\n".to_owned();
    for ((what, goal), reached) in GOALS.iter().zip(reached) {
        text.push_str(&format!("| {what} | {} | {} |\n", grouped(*goal), grouped(reached)));
    }
    text.push_str("\n| figure | |\n|---|---|\n");
    let variants: Vec<String> =
        report.acked.iter().map(|(name, acked)| format!("{name} {}", grouped(*acked))).collect();
    let rows = [
        ("version", format!("`{}`, {} build", report.version, report.binaries)),
        ("duration", format!("{} min on {} processors", report.seconds / 60, report.cores)),
        ("offered to each Telex", format!("{} messages a second, three Telexes at once", report.rate)),
        ("messages answered 202", variants.join("; ")),
        ("Telexes, each compared with its topic and its tables", report.worlds.to_string()),
        ("snapshots of the tables judged under way", grouped(report.looks)),
        ("availability (202 of all attempts that were not refused for good)", percent(report.availability())),
        ("longest time without a 202, in one Telex", format!("{:.1} s", report.longest_gap)),
        ("seed", report.seed.to_string()),
    ];
    for (what, value) in rows {
        text.push_str(&format!("| {what} | {value} |\n"));
    }
    text
}

fn faults(report: &Report) -> String {
    let mut text = "\n## Faults\n\
        Each was seen to bite. *Load* is the least that was acknowledged a second just before; *recovery* is the time \
        until everything went on, the middle one and the longest.\n\n\
        | fault | what happens | times | load | recovery | seen by, the last time |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for (id, kind) in &report.faults {
        let (median, max) = kind.recovery();
        text.push_str(&format!(
            "| {id} | {} | {} | {}/s | {median:.1} s, {max:.1} s | {} |\n",
            kind.what, kind.count, kind.rate_min, kind.evidence
        ));
    }
    text
}

/// The page of the planted bugs: of all that there are, whether or not they were tried.
pub fn planted(mutants: &[Mutant], findings: &[Finding]) -> String {
    let of = |mutant: &Mutant| findings.iter().find(|finding| finding.bug == mutant.bug);
    let tried: Vec<&Finding> = mutants.iter().filter_map(of).collect();
    let found = tried.iter().filter(|finding| !finding.found_by.is_empty()).count();
    let untried = match mutants.len() - tried.len() {
        0 => String::new(),
        untried => format!(" Not tried yet: **{untried}**."),
    };
    let mut text = format!(
        "# Planted bugs\n\n\
         `torture page` writes this page from the result of `make torture-mutants`, which plants each of these bugs in a copy \
         of the sources, builds it and looks whether the harness or a test finds it. A bug that was planted once more \
         since has the later commit.\n\n\
         **{found} of {}** were found.{untried}\n\n\
         | bug | what is wrong then | sought by | found by | in |\n|---|---|---|---|---|\n",
        mutants.len()
    );
    for mutant in mutants {
        text.push_str(&row(mutant, of(mutant)));
    }
    text
}

fn row(Mutant { bug, breaks, finder }: &Mutant, finding: Option<&Finding>) -> String {
    let Some(Finding { breaks, sought_by, found_by, version, .. }) = finding else {
        return format!("| {bug} | {breaks} | {} | not tried yet | |\n", finder.name());
    };
    let found = if found_by.is_empty() { "**missed**".to_owned() } else { found_by.join(", ") };
    format!("| {bug} | {breaks} | {sought_by} | {found} | `{version}` |\n")
}

fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return format!("\n## {title}\nNone.\n");
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("- {line}\n")).collect();
    format!("\n## {title}\n{}", lines.concat())
}

fn again(report: &Report) -> String {
    let Report { seconds, rate, seed, .. } = report;
    let all = FAULTS.iter().filter(|fault| fault.tier.is_long()).count();
    let chosen: String = match report.faults.len() {
        some if some < all => report.faults.keys().map(|id| format!(" --fault {id}")).collect(),
        _ => String::new(),
    };
    format!(
        "\n## Again\n```\nmake torture DURATION={seconds} RATE={rate} ARGS='--seed {seed}{chosen}'\nmake torture-page\n```\n"
    )
}

/// With a space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Finder;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }

    fn mutant(name: &str) -> Mutant {
        let finder = Finder::Test { test: "it::file::a_test_fails".to_owned() };
        Mutant { bug: name.to_owned(), breaks: "a promise".to_owned(), finder }
    }

    #[test]
    fn a_bug_that_nothing_found_or_nobody_tried_is_named_and_not_counted() {
        let finding = |name: &str, found_by: &[&str]| Finding {
            bug: name.to_owned(),
            breaks: "a promise".to_owned(),
            sought_by: "F1".to_owned(),
            found_by: found_by.iter().map(|word| (*word).to_owned()).collect(),
            version: "v".to_owned(),
        };
        let findings = [finding("one", &["P1", "P2"]), finding("two", &[]), finding("gone", &["P1"])];
        let page = planted(&["one", "two", "three"].map(mutant), &findings);
        assert!(page.contains("**1 of 3** were found. Not tried yet: **1**.\n"), "{page}");
        assert!(page.contains("| one | a promise | F1 | P1, P2 | `v` |\n"), "{page}");
        assert!(page.contains("| two | a promise | F1 | **missed** | `v` |\n"), "{page}");
        assert!(page.contains("| three | a promise | a test fails | not tried yet | |\n"), "{page}");
        assert!(!page.contains("gone"), "it is no bug any more: {page}");
        let page = planted(&["one", "two"].map(mutant), &findings);
        assert!(page.contains("**1 of 2** were found.\n"), "{page}");
    }

    #[test]
    fn a_run_without_a_fault_does_not_hold() {
        assert!(long(&Report::default()).contains("**Not everything held**"));
    }
}
