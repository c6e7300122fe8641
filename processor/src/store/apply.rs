//! The transaction. The only function that opens one for a batch; the compare-and-set on
//! `partition_progress` is its last statement before COMMIT, because COMMIT of an aborted
//! transaction answers ROLLBACK without an error: only a compare-and-set that has just moved every
//! row proves the transaction alive (R15).

use schemas::{ClientId, Partition};
use sqlx::{Connection as _, PgConnection};

use super::{
    aliases,
    classify::{CLIENTS_KEY, StoreError},
    messages,
    progress::{self, Advance},
    registry::Topic,
    statements,
};
use crate::{
    domain::{
        applied::Applied,
        batch::Batch,
        batch_map::BatchSet,
        counters::Counters,
        decode::Record,
        fold::{self, Bodies, Cached, ClientStates, Folded, ForeignWrite, Inserted, Settled},
    },
    failpoint::failpoint,
};

/// A batch was not applied, or not for certain.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outcome is not known, or a partition is not where its owner believes it to be: read the rows.
    #[error("{0}")]
    Unsettled(&'static str),
    /// Nothing was written: somebody else writes to the tables.
    #[error("a message was there before its client")]
    Foreign(ForeignWrite),
}

/// How the messages of a batch are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By COPY, which takes nothing but new ones. What was believed to be new and is not refuses the batch with
    /// [`StoreError::Present`], and says nothing about its records.
    Copy,
    /// By an insert that passes over what is there: for a batch that COPY refused, and for a small one.
    Insert,
}

/// Applies a batch. `cached` is what is known of its clients without asking.
///
/// Never cancel it: a dropped `begin` or `commit` leaves a transaction open (R14).
#[expect(clippy::disallowed_methods, reason = "the one place that opens a batch's transaction")]
pub async fn apply(
    connection: &mut PgConnection,
    topic: Topic,
    batch: &Batch,
    cached: Cached,
    mode: Mode,
) -> Result<Applied, ApplyError> {
    let mut transaction = connection.begin().await.map_err(StoreError::from)?;
    failpoint!("after_begin");
    let Cached { states, suspects } = cached;
    let before = complete(&mut transaction, batch, states).await?;
    let existing = look_up(&mut transaction, fold::lookups(batch, &before, &suspects)).await?;

    let mut folded = fold::fold(batch, topic.topic_id, before, &existing);
    let created = statements::insert_clients(&mut transaction, &mut folded.clients).await?;
    let are_clients_new = usize::try_from(created) == Ok(folded.clients.len());
    if mode == Mode::Copy && !are_clients_new {
        return Err(StoreError::Present(CLIENTS_KEY.to_owned()).into());
    }
    failpoint!("after_clients");
    statements::close_dialogs(&mut transaction, &mut folded.closed).await?;
    statements::open_dialogs(&mut transaction, topic.topic_ref, &mut folded.opened).await?;
    failpoint!("after_dialogs");
    let inserted = write_messages(&mut transaction, topic, &mut folded, mode, are_clients_new).await?;
    failpoint!("after_messages");
    let refused = folded.messages.iter().filter(|message| !inserted.holds(message.record));
    let mut stored =
        look_up(&mut transaction, refused.map(|message| fold::key(message.received)).collect()).await?;
    stored.extend(existing);

    let Settled { after, mut touched, aliases, dead_letters, counters } =
        folded.settle(&inserted, stored).map_err(ApplyError::Foreign)?;
    aliases::insert(&mut transaction, topic.topic_ref, &aliases).await?;
    statements::touch_dialogs(&mut transaction, &mut touched).await?;
    statements::insert_dead_letters(&mut transaction, topic.topic_ref, &dead_letters).await?;
    failpoint!("after_dead_letters");

    let steps = steps(batch, |partition| counters.get(&partition).copied().unwrap_or_default());
    let moved = progress::advance(&mut transaction, topic.topic_ref, &steps).await?;
    if usize::try_from(moved) != Ok(batch.runs.len()) {
        transaction.rollback().await.map_err(StoreError::from)?;
        return Err(ApplyError::Unsettled("a partition is not where its owner believes it to be"));
    }
    failpoint!("after_cas");
    transaction.commit().await.map_err(|_| ApplyError::Unsettled("no answer to COMMIT"))?;
    failpoint!("after_commit");
    Ok(Applied {
        after,
        counters: steps.iter().map(|step| (step.partition, step.counters)).collect(),
        dead_letters: dead_letters
            .iter()
            .map(|(Record { raw, .. }, reason)| (raw.partition, raw.offset, reason.as_str()))
            .collect(),
    })
}

/// The states of all clients of the batch: those in `cached`, and the others from the tables.
async fn complete(
    connection: &mut PgConnection,
    batch: &Batch,
    mut states: ClientStates,
) -> Result<ClientStates, StoreError> {
    let unknown: BatchSet<ClientId> =
        batch.records().filter_map(Record::client_id).filter(|client| !states.contains_key(client)).collect();
    if !unknown.is_empty() {
        let unknown: Vec<ClientId> = unknown.into_iter().collect();
        states.extend(statements::client_states(connection, &unknown).await?);
    }
    Ok(states)
}

async fn write_messages(
    connection: &mut PgConnection,
    topic: Topic,
    folded: &mut Folded<'_>,
    mode: Mode,
    are_clients_new: bool,
) -> Result<Inserted, StoreError> {
    match mode {
        Mode::Copy => {
            messages::copy(connection, topic.topic_ref, &mut folded.messages).await?;
            Ok(Inserted::All)
        }
        Mode::Insert => {
            let places = messages::insert(connection, topic.topic_ref, &mut folded.messages).await?;
            let is_as_believed = are_clients_new && places.len() == folded.messages.len();
            Ok(if is_as_believed { Inserted::All } else { Inserted::Only(places) })
        }
    }
}

async fn look_up<'a>(
    connection: &mut PgConnection,
    keys: Vec<fold::MessageKey<'a>>,
) -> Result<Bodies<'a>, StoreError> {
    if keys.is_empty() { Ok(Bodies::default()) } else { statements::bodies(connection, &keys).await }
}

fn steps(batch: &Batch, counters: impl Fn(Partition) -> Counters) -> Vec<Advance> {
    let steps = batch.runs.iter().map(|run| Advance {
        partition: run.partition,
        owner_epoch: run.owner_epoch,
        from: run.from,
        to: run.to,
        last_digest: run.last_record(),
        counters: counters(run.partition),
    });
    steps.collect()
}
