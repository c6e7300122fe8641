//! What messaging providers send, read as a description in TOML says: from a request to messages.
//!
//! One adapter for all of them. What differs between providers is data: where the messages lie and what their
//! fields are called, which events are none, how a request is signed, what is answered. Everything here is pure:
//! no socket, no file, no clock.
//!
//! Read in the order in which a request travels: [`description`] (the TOML, with [`presets`]) is made into a
//! [`hook`] once; [`signature`] says from whom a request is, [`setup`] answers a provider that looks whether the URL
//! is ours; `decode` and `walk` find what the [pointers](mod@pointer) of the description point to; [`reading`] makes
//! items of it, by [`field`], [`condition`] and [`time`].
//!
//! **What a request may cost is bounded**: nothing is made of a body but the values that pointers point to. There are
//! [`walk::ITEMS_MAX`] items, [`walk::ELEMENTS_MAX`] elements on the way to them and [`walk::FOUND_MAX`] values at most.
#![forbid(unsafe_code)]

pub mod condition;
pub mod decode;
pub mod description;
pub mod field;
pub mod hook;
mod jwt;
pub mod pointer;
pub mod presets;
pub mod reading;
pub mod request;
pub mod setup;
pub mod signature;
pub mod template;
pub mod time;
pub mod walk;

pub use description::Description;
pub use hook::Hook;
pub use reading::{Item, Reading, Unreadable};
pub use request::Request;
