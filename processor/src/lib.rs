//! The processor.

pub mod cli;
pub mod commands;
pub mod consume;
pub mod dead_letter;
pub mod decode;
pub mod fold;
pub mod halt;
pub mod kafka;
pub mod position;
pub mod prove;
pub mod store;
