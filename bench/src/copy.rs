//! The limit: COPY of the very rows that the processor wrote, into the same tables with the same indexes, in as
//! many sessions as the processor has lanes, in the order in which it wrote them. Nothing that writes these
//! rows through SQL is faster; what is left of it is the price of exactly once.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter},
};

use crate::lab::Lab;

/// As many as the processor's default.
pub const SESSIONS: usize = 2;

/// Bytes that are read or written at once.
const CHUNK: usize = 256 * 1024;

/// In the order in which they are written.
const TABLES: [(&str, &str); 3] =
    [("clients", "created_at"), ("dialogs", "opened_at"), ("messages", "appended_at")];

/// Rows of `messages` a second.
pub fn rate(lab: &Lab, topic: &str, drained: &str, database: &str) -> Result<f64> {
    lab.telex_database(topic, database)?;
    let (from, to) = (lab.database_url(drained), lab.database_url(database));
    let directory = lab.directory.join("copy");
    std::fs::create_dir_all(&directory)?;
    let rate = lab.runtime.block_on(async {
        for session in 0..SESSIONS {
            save(&from, &directory, session).await?;
        }
        let start = Instant::now();
        let mut sessions = tokio::task::JoinSet::new();
        for session in 0..SESSIONS {
            let (to, directory) = (to.clone(), directory.clone());
            sessions.spawn(async move { load(&to, &directory, session).await });
        }
        while let Some(session) = sessions.join_next().await {
            session.context("a session failed")??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut connection = PgConnection::connect(&to).await?;
        let rows: i64 =
            sqlx::query_scalar("select count(*) from messages").fetch_one(&mut connection).await?;
        anyhow::Ok(rows as f64 / seconds)
    });
    std::fs::remove_dir_all(&directory).ok();
    rate
}

fn file(directory: &Path, session: usize, table: &str) -> PathBuf {
    directory.join(format!("{table}-{session}"))
}

/// A session's share, by client, so that the sessions never meet in a row.
async fn save(url: &str, directory: &Path, session: usize) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for (table, order) in TABLES {
        let client = if table == "clients" { "id" } else { "client_id" };
        let copy = format!(
            "copy (select * from {table} where mod(abs(hashtext({client}::text)), {SESSIONS}) = {session} \
             order by {order}) to stdout (format binary)"
        );
        let mut rows = connection.copy_out_raw(&copy).await?;
        // A chunk is a row.
        let mut file = BufWriter::with_capacity(CHUNK, File::create(file(directory, session, table)).await?);
        while let Some(chunk) = std::future::poll_fn(|context| rows.as_mut().poll_next(context)).await {
            file.write_all(&chunk?).await?;
        }
        file.flush().await?;
    }
    Ok(())
}

async fn load(url: &str, directory: &Path, session: usize) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for (table, _) in TABLES {
        let mut file = File::open(file(directory, session, table)).await?;
        let mut copy = connection.copy_in_raw(&format!("copy {table} from stdin (format binary)")).await?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk).await?;
            if length == 0 {
                break;
            }
            copy.send(chunk.get(..length).unwrap_or_default()).await?;
        }
        copy.finish().await?;
    }
    Ok(connection.close().await?)
}
