//! What the documents say is there: files, sections, pages, names, and what they tell a person to type. Whole command
//! lines are held against the programs by `make k8s-check`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod links;
mod names;
mod pages;
mod pins;
mod values;
