//! A real Kafka and a real PostgreSQL on this machine, without a container engine.
//!
//! One implementation serves the Makefile, the demo, the checks and the integration tests: the
//! binary of this package is built on what is public here, and tests take the servers away and
//! bring them back with the same handles. Blocking code on purpose: whoever starts a server has
//! nothing else to do until it answers.
//!
//! Reading order:
//! - [`workspace`]: where everything is kept (`.dev/`)
//! - [`install`]: the two servers as pinned Maven dependencies
//! - [`debian`]: programs that only some checks need, unpacked
//! - [`process`]: child processes that never outlive their owner by accident
//! - [`interrupt`]: Ctrl-C as a value that every wait looks at
//! - [`ports`]: the usual port, or a free one
//! - [`kafka`], [`postgres`]: the servers
//! - [`programs`]: Telex's own programs, their settings and what they print
//! - [`proxy`]: what loses a COMMIT or its answer, and what other proxies are made of
//! - [`leftovers`]: what a killed command left running, found and ended by the next one
//! - [`markdown`]: the documents, and what they show; [`typed`]: the command lines among it, and as whom each is typed
//! - [`commands`]: what a person, or the Makefile, types
#![forbid(unsafe_code)]

pub mod commands;
pub mod debian;
pub mod install;
pub mod interrupt;
pub mod kafka;
pub mod leftovers;
pub mod markdown;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod typed;
pub mod workspace;
