//! What is deployed, watched, promised and written down, held against the programs: Dockerfile, docker-compose.yml and k8s/
//! name commands, variables, ports and files of programs that change; nobody notices by reading.
//!
//! A check of what is deployed is a function from texts and the programs' own descriptions of their command lines to
//! findings; it starts no container and no program. Each must be able to fail: [`planted`] makes one mistake after the
//! other and asks whether it is found, in every run, so that a check that has gone blind fails the build. What is tried on
//! real ones has `try` in its name.
//!
//! Reading order: [`finding`], [`files`] and [`yaml`], [`programs`] (what a program says of itself),
//! [`dockerfile`], [`compose`], [`k8s`], [`cluster`] (what a real API server says), [`planted`], [`tools`] (other people's
//! checks), [`engine`] (Docker, for what only it can try), [`node`] (Kubernetes, likewise), [`commands`] (what a person, or the
//! Makefile, types).
#![forbid(unsafe_code)]

pub mod cluster;
pub mod commands;
pub mod compose;
pub mod dockerfile;
pub mod engine;
pub mod files;
pub mod finding;
pub mod k8s;
pub mod node;
pub mod planted;
pub mod programs;
pub mod tools;
pub mod yaml;

pub use finding::{Finding, Findings};
