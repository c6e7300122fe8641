//! The subcommands, a file each, and what they share: [`operator`], [`output`], [`rights`] and [`topic`].

pub mod dead_letters;
pub mod dialog_rules;
pub mod dialogs;
pub mod halts;
pub mod health;
pub mod migrate;
pub mod operator;
pub mod output;
pub mod partitions;
pub mod progress;
pub mod prove;
pub mod quarantine;
pub mod rights;
pub mod run;
pub mod tail;
pub mod topic;
