//! The Redis-lock way: the algorithm that inbox products use against the dialog race, as it is usually written,
//! with a real Redis and PostgreSQL and 32 workers. How fast it is, and what it doubles and drops when a worker
//! dies or a lock expires.

mod faults;
mod server;
mod wire;
mod worker;

pub use faults::{Damage, damage};
pub use server::Redis;
pub use worker::{Way, rate};

pub const WORKERS: usize = 32;

/// What such an installation has: no index refuses a second active dialog, because the lock is to prevent it.
const TABLES: &str = "
create table clients (
    id bigint generated always as identity primary key, external_client_id text not null, client_phone text not null
);
create unique index on clients (external_client_id, client_phone);
create table dialogs (
    id bigint generated always as identity primary key, client_id bigint not null, opened_at timestamptz not null default now(),
    closed_at timestamptz
);
create index on dialogs (client_id) where closed_at is null;
create table messages (
    id bigint generated always as identity primary key, client_id bigint not null, dialog_id bigint not null,
    external_message_id text not null, text text not null, created_at timestamptz not null default now()
);
create index on messages (client_id, external_message_id);
create index on messages (dialog_id);
";
