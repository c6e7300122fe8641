//! From records to transactions.

pub mod batch;
