//! The processor.

pub mod app;
pub mod cli;
pub mod commands;
pub mod consume;
pub mod dead_letter;
pub mod decode;
pub mod fold;
pub mod halt;
pub mod kafka;
pub mod metrics;
pub mod position;
pub mod prove;
pub mod status;
pub mod store;
