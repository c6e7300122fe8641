//! The page of a try: written from its result, never by hand. The result is a line for each thing that happened, with tabs:
//! `fact WHAT VALUE`, `step NAME`, `saw TEXT`, `took SECONDS`, `flow ROW` (of a table), `not TEXT` (was not tried), `held`.

const HEAD: &str = "# Deployment report\n\n\
    `make cluster-page` writes this page from the result of `make cluster-try`: one real node of Kubernetes on one machine, \
    the overlay `dev` as it stands, what a platform team does with it, and KEDA; then, in its place, the overlay `prod`. Its images are stand-ins, made of \
    Debian's packages, under the names that the manifests give them; the programs are those that are shipped, and KEDA's own. \
    [Kubernetes](kubernetes.md#what-was-tried) says what else was tried.\n\n";

/// The page; a try that broke off says where.
pub fn page(result: &str) -> String {
    let lines: Vec<(&str, &str)> = result.lines().filter_map(|line| line.split_once('\t')).collect();
    let of = |kind: &'static str| lines.iter().filter(move |(it, _)| *it == kind).map(|(_, text)| *text);
    let seconds: u64 = of("took").filter_map(|text| text.parse::<u64>().ok()).sum();
    let mut page = HEAD.to_owned();
    match (result.lines().any(|line| line == "held"), of("step").next_back()) {
        (true, _) => {
            page.push_str(&format!("**Everything held**, in {seconds} s after the node was there.\n\n"))
        }
        (false, at) => page.push_str(&format!("**It broke off**, at: {}.\n\n", at.unwrap_or("the start"))),
    }
    page.push_str("| | |\n|---|---|\n");
    for (what, value) in of("fact").filter_map(|text| text.split_once('\t')) {
        page.push_str(&format!("| {what} | {value} |\n"));
    }
    page.push_str(&steps(&lines));
    let flows: Vec<&str> = of("flow").collect();
    if !flows.is_empty() {
        page.push_str(
            "\n## Network flows\nTried from inside the pods. *open*: a connection was made; *shut*: none was, within 3 s; empty: the pod itself.\n",
        );
        flows.iter().for_each(|row| page.push_str(&format!("{row}\n")));
    }
    page.push_str("\n## Not tried\n");
    of("not").for_each(|text| page.push_str(&format!("- {text}\n")));
    page.push_str("\n## Again\n```\nmake cluster-try\nmake cluster-page\n```\n");
    page
}

fn steps(lines: &[(&str, &str)]) -> String {
    let mut text = "\n## What was done\n| step | seen | seconds |\n|---|---|---|\n".to_owned();
    let mut step = None;
    let mut seen: Vec<&str> = Vec::new();
    for (kind, what) in lines {
        match *kind {
            "step" => (step, seen) = (Some(*what), Vec::new()),
            "saw" => seen.push(what),
            "took" => {
                let name = step.take().unwrap_or_default();
                text.push_str(&format!("| {name} | {} | {what} |\n", seen.join("; ").replace('|', "\\|")));
            }
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_broke_off_says_where() {
        let begun = "fact\tcommit\t`abc`\nstep\tload\nsaw\t7 records\nsaw\ta|b\ntook\t12\nstep\trollouts\nsaw\thalf\n";
        let broken = page(begun);
        assert!(broken.contains("**It broke off**, at: rollouts."), "{broken}");
        assert!(broken.contains("| load | 7 records; a\\|b | 12 |") && broken.contains("| commit | `abc` |"));
        let held = page(&format!("{begun}took\t3\nnot\tKEDA\nheld\n"));
        assert!(held.contains("**Everything held**, in 15 s") && held.contains("- KEDA\n"), "{held}");
    }
}
