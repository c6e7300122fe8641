//! The control: the handler that does nothing at 10,000 requests a second, sent by the load tester that sends
//! everything else. It says what a request costs before anybody looks at it, and whether the machine was quiet: it
//! has almost nothing to do, so when it answers late, others had the cores.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    lab::{Lab, Serving},
    load::Load,
    machine::Ticks,
};

/// Requests a second: the mission's load.
pub const RATE: f64 = 10_000.0;

/// Handler and load tester take about half of two cores: on a quiet machine requests wait for a few milliseconds.
pub const P99_MS_MAX: f64 = 25.0;

/// Of the time of all cores.
pub const STOLEN_MAX: f64 = 0.02;

/// What a run of it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    pub achieved: f64,
    /// Milliseconds from when a request was due to its answer.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time a request, of the handler.
    pub cpu_micros: f64,
    /// The same of the load tester: what it adds to every other figure.
    pub loadtest_cpu_micros: f64,
    /// The share of all time meanwhile that others had below us.
    pub stolen: f64,
}

/// The handler in a process of its own.
pub fn start(lab: &Lab) -> Result<Serving> {
    lab.serve("noop", &["noop-server"])
}

pub fn measure(lab: &Lab, duration: Duration) -> Result<Control> {
    let noop = start(lab)?;
    let before = Ticks::now();
    let load = Load {
        name: "control",
        address: noop.address,
        database_url: None,
        rate: RATE,
        duration,
        // It takes everything, so nothing may be sent that has to be refused.
        more: &["--mix", "valid=1"],
        pids: [Some(noop.pid()), None, None, None, None],
    };
    let sent = load.send(lab)?;
    Ok(Control {
        achieved: sent.report.requests_per_second,
        p50_ms: sent.report.latency_ms.p50,
        p99_ms: sent.report.latency_ms.p99,
        cpu_micros: sent.cpu.ingest_api,
        loadtest_cpu_micros: sent.cpu.loadtest,
        stolen: Ticks::now().stolen_since(before),
    })
}
