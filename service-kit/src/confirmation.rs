//! A person's word: every command that changes something either says what it would do, or is told to do it.

/// Whether a person means it.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Confirmation {
    /// Say what would be done; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Nothing is to be changed.
    pub const fn is_dry_run(self) -> bool {
        !self.yes
    }
}

/// The commands of a program that nobody has to confirm, by what follows the program's name: for its tests. One that asks
/// is asked for either word and not for both.
pub fn unasked(program: &clap::Command) -> Vec<String> {
    let mut found = Vec::new();
    add_unasked(&mut found, "", program);
    found
}

fn add_unasked(found: &mut Vec<String>, before: &str, command: &clap::Command) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let typed = format!("{before}{}", below.get_name());
        if below.has_subcommands() {
            add_unasked(found, &format!("{typed} "), below);
        } else if !asks(below) {
            found.push(typed);
        }
    }
}

fn asks(command: &clap::Command) -> bool {
    command.get_groups().any(|group| {
        let words: Vec<&str> = group.get_args().map(clap::Id::as_str).collect();
        group.is_required_set() && words == ["dry_run", "yes"]
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Args as _, Command};

    use super::*;

    #[test]
    fn a_command_without_its_words_is_found_however_deep_it_lies() {
        let asking = |name: &'static str| Confirmation::augment_args(Command::new(name));
        let program = Command::new("p")
            .subcommand(Command::new("look"))
            .subcommand(asking("change"))
            .subcommand(Command::new("many").subcommand(asking("set")).subcommand(Command::new("drop")));
        assert_eq!(unasked(&program), ["look", "many drop"]);
        let word = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue);
        let halfway = Command::new("halfway").arg(word("dry_run")).arg(word("yes"));
        assert_eq!(unasked(&Command::new("p").subcommand(halfway)), ["halfway"], "nobody has to say either");
    }
}
