//! The subcommands, a file each.

pub mod migrate;
pub mod run;
