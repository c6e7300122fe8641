//! The rows of PostgreSQL alone: its own best way to commit, by trying; what it acknowledges, what it folds, and both
//! at once at a rate.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use loadtest::plan::Plan;
use schemas::{Posted, Timestamp};
use sqlx::{Connection as _, PgConnection};

use super::{
    Way,
    log::{self, Row},
};
use crate::{
    copy,
    end_to_end::AtRate,
    http::{self, Target},
    lab::{Lab, Serving},
    load::Load,
    usage::{self, Cpu, Pids},
};

/// Ways to be tried: few long statements up to many short ones.
const WRITERS: [usize; 4] = [1, 2, 4, 12];
const ROWS_MAX: [usize; 3] = [100, 400, 1_600];

/// As many owners as the processor has lanes.
pub(super) const OWNERS: usize = copy::SESSIONS;

/// Rows in a statement that fills the log beforehand.
const FILL_ROWS: usize = 2_000;

pub(super) fn start(lab: &Lab, url: &str, way: Way, owners: usize) -> Result<Serving> {
    let [owners, writers, rows_max] = [owners, way.writers, way.rows_max].map(|number| number.to_string());
    let sizes = ["--owners", &owners, "--writers", &writers, "--rows-max", &rows_max];
    lab.serve("postgres-alone", &[&["postgres-alone", "--database", url], &sizes[..]].concat())
}

/// Kafka stands beside it and is no part of it.
fn pids(server: &Serving, lab: &Lab) -> Pids {
    [Some(server.pid()), None, None, lab.postgres.pid(), None]
}

/// The way that acknowledges the most single messages a second: of several numbers of writers, then of several
/// lengths of a statement.
pub fn best(lab: &Lab, requests: &Arc<Vec<Vec<u8>>>, duration: Duration) -> Result<Way> {
    let try_way = |way: Way| {
        let database = format!("alone_{}_{}", way.writers, way.rows_max);
        closed_loop(lab, way, requests, duration, &database).map(|load| (load.per_second, way))
    };
    let start = Way { writers: 0, rows_max: 400 };
    let writers = WRITERS.iter().map(|writers| try_way(Way { writers: *writers, ..start }));
    let by_writers = fastest(writers.collect::<Result<Vec<_>>>()?)?;
    let others = ROWS_MAX.iter().filter(|rows_max| **rows_max != start.rows_max);
    let rows = others.map(|rows_max| try_way(Way { rows_max: *rows_max, ..by_writers.1 }));
    let tried = rows.collect::<Result<Vec<_>>>()?.into_iter().chain([by_writers]).collect();
    Ok(fastest(tried)?.1)
}

fn fastest(tried: Vec<(f64, Way)>) -> Result<(f64, Way)> {
    tried.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)).context("no way was tried")
}

/// Single messages as fast as they are acknowledged; nothing is folded meanwhile.
pub fn closed_loop(
    lab: &Lab,
    way: Way,
    requests: &Arc<Vec<Vec<u8>>>,
    duration: Duration,
    database: &str,
) -> Result<http::Load> {
    let url = log::prepare(lab, database)?;
    let server = start(lab, &url, way, 0)?;
    let target = Target { address: server.address, pids: pids(&server, lab) };
    let load = http::load(target, Arc::clone(requests), http::CONNECTIONS, duration);
    let load = lab.runtime.block_on(load);
    drop(server);
    lab.drop_database(database)?;
    load
}

/// Rows a second that the owners fold of a log that is full, and what each costs.
pub fn folded(lab: &Lab, plan: &Plan, database: &str) -> Result<(f64, Cpu)> {
    let url = log::prepare(lab, database)?;
    lab.runtime.block_on(fill(&url, plan))?;
    let messages = plan.settings().messages;
    let way = Way { writers: 1, rows_max: 1 };
    let server = start(lab, &url, way, OWNERS)?;
    let pids = pids(&server, lab);
    let before = usage::uses(&pids);
    let mut connection = lab.runtime.block_on(PgConnection::connect(&url))?;
    let complaint = "the owners have not folded the log";
    let looks = lab.looks(&mut connection, (0, messages), || true, complaint)?;
    let cpu = Cpu::between(&before, &usage::uses(&pids), messages as f64);
    let rows = sqlx::query_scalar::<_, i64>("select count(*) from messages").fetch_one(&mut connection);
    let rows = lab.runtime.block_on(rows)?;
    lab.runtime.block_on(connection.close())?;
    drop(server);
    lab.drop_database(database)?;
    if u64::try_from(rows)? != messages {
        bail!("the owners have made {rows} rows of {messages} messages");
    }
    Ok((looks.rate(1).context("too few rows to see a rate")?, cpu))
}

async fn fill(url: &str, plan: &Plan) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros())?;
    let now = Timestamp::from_micros(micros).context("the clock is far off")?;
    let (mut next, mut rows) = (std::collections::BTreeMap::<i32, i64>::new(), Vec::new());
    for request in plan.requests() {
        let body = plan.body(&request);
        let posted = Posted::parse(&body, now).ok().context("the plan wrote what is no message")?;
        let slot = log::slot(&posted.message)?;
        let place = next.entry(slot).or_default();
        let row = Row { slot, message: posted.message, received_at: now.to_utc(), request_id: None };
        rows.push((*place, row));
        *place += 1;
        if rows.len() == FILL_ROWS {
            write(&mut connection, &mut rows).await?;
        }
    }
    write(&mut connection, &mut rows).await?;
    Ok(connection.close().await?)
}

async fn write(connection: &mut PgConnection, rows: &mut Vec<(i64, Row)>) -> Result<()> {
    let placed: Vec<(i64, &Row)> = rows.iter().map(|(place, row)| (*place, row)).collect();
    log::insert(connection, &placed).await?;
    rows.clear();
    Ok(())
}

/// Everything at once at a rate, verified as Telex is; clients have no aliases, which it does not fold.
pub fn at_rate(lab: &Lab, way: Way, offered: f64, duration: Duration, name: &str) -> Result<AtRate> {
    let url = log::prepare(lab, name)?;
    let server = start(lab, &url, way, OWNERS)?;
    let load = Load {
        name,
        address: server.address,
        database_url: Some(&url),
        rate: offered,
        duration,
        more: &["--addresses", "0"],
        pids: pids(&server, lab),
    };
    let sent = load.send(lab)?;
    drop(server);
    lab.drop_database(name)?;
    AtRate::of(offered, &sent)
}
