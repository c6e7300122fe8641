//! What senders notice while PostgreSQL is away: a server that hangs, as a machine or a disk that hangs.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use dev_env::{interrupt, postgres::Postgres};
use serde::{Deserialize, Serialize};

use super::{
    Way, log,
    measure::{OWNERS, start},
};
use crate::{lab::Lab, load::Load};

/// Requests a second: a tenth of what is carried otherwise.
const RATE: f64 = 1_000.0;

/// Before and after.
const WELL: Duration = Duration::from_secs(3);

/// What came back while PostgreSQL was away for so long, and before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    pub away_seconds: f64,
    /// Requests a second.
    pub offered: f64,
    pub refused: u64,
    /// The worst percent waited for so long for its last reply, in milliseconds; repeats included.
    pub ack_p99_ms: f64,
}

/// The processes of PostgreSQL stand still until this is dropped.
struct Frozen<'a>(&'a Postgres);

impl<'a> Frozen<'a> {
    fn new(postgres: &'a Postgres) -> Self {
        postgres.freeze();
        Self(postgres)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

/// Of PostgreSQL alone, then of Telex.
pub fn refused(lab: &Lab, way: Way, away: Duration) -> Result<(Refused, Refused)> {
    let url = log::prepare(lab, "alone_outage")?;
    let server = start(lab, &url, way, OWNERS)?;
    let alone = send(lab, server.address, away, "alone_outage")?;
    drop(server);
    lab.drop_database("alone_outage")?;
    let topic = "bench.outage";
    lab.topic(topic)?;
    let mut api = lab.ingest_api(topic)?;
    let telex = send(lab, api.address.context("the ingest API has no address")?, away, "outage")?;
    api.stop()?;
    Ok((alone, telex))
}

fn send(lab: &Lab, address: SocketAddr, away: Duration, name: &str) -> Result<Refused> {
    let load = Load {
        name,
        address,
        // Nobody looks into the database: what is asked is what senders notice.
        database_url: None,
        rate: RATE,
        duration: WELL + away + WELL,
        more: &["--addresses", "0"],
        pids: [None; 5],
    };
    let sending = load.start(lab)?;
    interrupt::pause(WELL)?;
    let frozen = Frozen::new(&lab.postgres);
    interrupt::pause(away)?;
    drop(frozen);
    let report = sending.finish()?;
    Ok(Refused {
        away_seconds: away.as_secs_f64(),
        offered: RATE,
        refused: report.replies.get(&503).copied().unwrap_or_default(),
        ack_p99_ms: report.latency_ms.p99,
    })
}
