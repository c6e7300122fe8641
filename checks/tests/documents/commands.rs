//! What the documents tell a person to type is there: targets and variables of the Makefile, flags, services of the
//! compose file, objects of the manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use dev_env::markdown::shown;

use crate::pages::{documents, files, read, unknown};

/// Whose flags a page names that says no more than the flag.
const SERVICES: [&str; 3] = ["ingest-api", "processor", "service-kit"];
/// Pages that speak of another program as well.
const OF_OTHERS: [(&str, &str); 6] = [
    ("README.md", "loadtest"),
    ("docs/architecture.md", "loadtest"),
    ("docs/operations.md", "loadtest"),
    ("docs/performance.md", "bench"),
    ("examples/readers/README.md", "examples"),
    ("loadtest/README.md", "loadtest"),
];

/// Flags of docker compose that are shown with a value behind them.
const TAKE_A_VALUE: [&str; 3] = ["--tail", "--profile", "-e"];
/// What manifests hold that is shown by its name.
const KINDS: [&str; 11] = [
    "certificate",
    "cluster.postgresql.cnpg.io",
    "cronjob",
    "deploy",
    "deployment",
    "job",
    "kafka",
    "kafkatopic",
    "scaledobject",
    "secret",
    "service",
];

/// Where one command of a line ends and another, or something else, begins.
const ENDS: [char; 5] = ['#', ';', '&', '|', '>'];

/// The flags of our programs, from the structs that describe them, and of the Python scripts, by the folder of each.
fn flags(files: &BTreeSet<PathBuf>) -> BTreeMap<String, BTreeSet<String>> {
    let mut flags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let is = |ending: &str| file.extension().is_some_and(|extension| extension == ending);
        let folder = file.iter().next().unwrap().to_string_lossy().into_owned();
        if is("rs") {
            flags.entry(folder).or_default().extend(read(file).split("#[arg(").skip(1).filter_map(flag));
        } else if is("py") {
            let named = |rest: &str| Some(rest.split_once('"')?.0.to_owned());
            flags.entry(folder).or_default().extend(read(file).split("\"--").skip(1).filter_map(named));
        }
    }
    flags
}

/// The folders of the programs whose flags these are: the one that a target of make hands them to, or those of the page.
fn spoken_of(page: &str, shown: &str) -> Vec<&'static str> {
    match makes_shown(shown).first() {
        Some(&"bench") => vec!["bench"],
        Some(&"loadtest") => vec!["loadtest"],
        Some(&"tail") => vec!["processor"],
        Some(_) => vec!["torture"],
        None => {
            let others = OF_OTHERS.into_iter().filter(|(of, _)| *of == page).map(|(_, program)| program);
            SERVICES.into_iter().chain(others).collect()
        }
    }
}

/// The flag of an argument, from what follows its `#[arg(`: the name of its field, unless it has another.
fn flag(described: &str) -> Option<String> {
    let (settings, field) = described.split_once(")]")?;
    let long =
        settings.split(',').map(str::trim).find(|part| *part == "long" || part.starts_with("long ="))?;
    if let Some(name) = long.split('"').nth(1) {
        return Some(name.to_owned());
    }
    let is_field = |line: &&str| !line.is_empty() && !line.starts_with(['#', '/']);
    let declared = field.lines().map(str::trim).find(is_field)?;
    Some(declared.split_once(':')?.0.rsplit(' ').next()?.replace('_', "-"))
}

/// The flags of a span that begins with one, and those that `make … ARGS='…'` hands on. Other programs have flags of
/// their own; whole command lines of ours are held against the programs by `make k8s-check`.
fn flags_shown(shown: &str) -> Vec<&str> {
    let arguments = match shown.split_once("ARGS=") {
        Some((_, rest)) => rest.split(['\'', '"']).nth(1).unwrap_or_default(),
        None if shown.starts_with("--") => shown,
        None => return Vec::new(),
    };
    let is_of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    arguments
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .filter_map(|flag| flag.split(|c: char| !is_of_a_name(c)).next())
        // `---` parts the documents of a YAML file.
        .filter(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

/// The target that a command of make names, and the variables that it sets, each with its `=`.
fn makes_shown(shown: &str) -> Vec<&str> {
    let is_variable = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || matches!(c, '_' | '='));
    let mut found = Vec::new();
    for command in shown.split(ENDS) {
        let mut words = command.trim().trim_start_matches("$ ").split_whitespace();
        let Some("make") = words.next() else { continue };
        let (assigned, named): (Vec<&str>, Vec<&str>) = words.partition(|word| word.contains('='));
        let Some(target) = named.first() else { continue };
        found.push(*target);
        let variables = assigned.iter().filter_map(|word| word.split_inclusive('=').next());
        found.extend(variables.filter(is_variable).filter(|name| name.len() > 1));
    }
    found
}

/// The services that commands of docker compose name.
fn services_shown(shown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for command in shown.split(ENDS) {
        let Some((_, rest)) = command.split_once("docker compose ") else { continue };
        let mut named = Vec::new();
        let mut words = rest.split_whitespace();
        while let Some(word) = words.next() {
            if TAKE_A_VALUE.contains(&word) {
                words.next();
            } else if !word.starts_with('-') {
                named.push(word);
            }
        }
        let Some((verb, named)) = named.split_first() else { continue };
        match *verb {
            // What follows is for the program in the service.
            "run" | "exec" => found.extend(named.first()),
            "up" | "stop" | "start" | "restart" | "logs" | "ps" | "kill" => found.extend(named),
            _ => {}
        }
    }
    found
}

/// The objects that commands of kubectl name, as `KIND/NAME` or `KIND NAME`.
fn objects_shown(shown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for command in shown.split(ENDS) {
        let Some((_, rest)) = command.split_once("kubectl ") else { continue };
        // What is made there, no manifest has; the namespaces of operators are theirs.
        if rest.contains("create ") || rest.contains("--namespace cnpg-system") {
            continue;
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        let joined = words.iter().filter_map(|word| word.split_once('/'));
        let apart = words.windows(2).filter_map(|pair| match pair {
            [kind, name] => Some((*kind, *name)),
            _ => None,
        });
        let of_a_kind = joined.chain(apart).filter(|(kind, _)| KINDS.contains(kind)).map(|(_, name)| name);
        // A flag, a variable, `NAME`.
        found.extend(of_a_kind.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())));
    }
    found
}

#[test]
fn every_target_and_variable_of_make_that_is_shown_is_one() {
    let makefile = read("Makefile");
    let is_target =
        |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '0'..='9'));
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .filter(is_target)
        .collect();
    let unknown = unknown(&files(), 40, makes_shown, |name| match name.strip_suffix('=') {
        Some(variable) => makefile.contains(&format!("$({variable}")),
        // `make …-check` speaks of several.
        None => targets.contains(name) || name.contains('…'),
    });
    assert!(unknown.is_empty(), "targets or variables that make has not:\n{}", unknown.join("\n"));
}

#[test]
fn every_flag_that_is_named_is_one_of_the_program_that_is_spoken_of() {
    let files = files();
    let flags = flags(&files);
    let (mut unknown, mut seen) = (Vec::new(), 0);
    for page in documents(&files).iter().filter(|page| !page.is_history()) {
        for (number, shown) in shown(&page.text) {
            let programs = spoken_of(&page.name, &shown);
            for flag in flags_shown(&shown) {
                seen += 1;
                let has = |program: &&str| flags.get(*program).is_some_and(|of_it| of_it.contains(flag));
                if !matches!(flag, "help" | "version") && !programs.iter().any(has) {
                    unknown.push(format!("{}:{number}: --{flag} of {programs:?}", page.name));
                }
            }
        }
    }
    assert!(seen > 150, "only {seen} were found");
    assert!(unknown.is_empty(), "flags that the program has not:\n{}", unknown.join("\n"));
}

#[test]
fn every_service_of_compose_that_is_shown_is_one() {
    let compose = read("docker-compose.yml");
    let services: BTreeSet<&str> = compose
        .lines()
        .skip_while(|line| *line != "services:")
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']))
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .collect();
    let unknown = unknown(&files(), 60, services_shown, |service| services.contains(service));
    assert!(unknown.is_empty(), "services that compose has not:\n{}", unknown.join("\n"));
}

#[test]
fn every_object_of_kubernetes_that_is_shown_is_in_the_manifests() {
    let files = files();
    let manifests: Vec<String> = files.iter().filter(|file| file.starts_with("k8s")).map(read).collect();
    let names: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|manifest| manifest.lines())
        .filter_map(|line| line.split_once("name: ").or_else(|| line.split_once("secretName: ")))
        .map(|(_, name)| name.split([' ', ',', '}']).next().unwrap_or_default())
        .collect();
    let unknown = unknown(&files, 40, objects_shown, |name| names.contains(name));
    assert!(unknown.is_empty(), "objects that no manifest has:\n{}", unknown.join("\n"));
}

#[test]
fn a_flag_has_the_name_of_its_field_or_its_own() {
    assert_eq!(flag("long, env = \"A\")]\n    pub dry_run: bool,").as_deref(), Some("dry-run"));
    assert_eq!(flag("\n    long,\n    default_value_t = f(1)\n)]\n    rate: u64,").as_deref(), Some("rate"));
    assert_eq!(flag("long = \"fault\")]\n    faults: Vec<String>,").as_deref(), Some("fault"));
    assert_eq!(flag("last = true)]\n    rest: Vec<String>,"), None);
}

#[test]
fn what_a_command_names_is_found() {
    assert_eq!(flags_shown("--rate 10k --batch=7"), ["rate", "batch"]);
    assert_eq!(flags_shown("make loadtest ARGS='--seed 7'"), ["seed"]);
    assert_eq!(flags_shown("git tag --sign"), [""; 0]);
    assert_eq!(spoken_of("a.md", "make bench ARGS='--only growth' # no target"), ["bench"]);
    assert_eq!(spoken_of("docs/performance.md", "--sustained-before"), [&SERVICES[..], &["bench"]].concat());
    let compose = "docker compose logs --tail 20 kafka; docker compose run --rm operator halts list # or so";
    assert_eq!(services_shown(compose), ["kafka", "operator"]);
    let kubernetes = "kubectl get scaledobject processor; kubectl logs job/migrate; kubectl logs job/NAME";
    assert_eq!(objects_shown(kubernetes), ["processor", "migrate"]);
}
