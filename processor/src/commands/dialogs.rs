//! `processor dialogs`: a client's dialogs and their messages, for a person who is allowed to read them.

use anyhow::bail;
use schemas::{Address, ClientId, ExternalClientId};
use sqlx::PgConnection;

use super::output::{printable, say};
use crate::store::Database;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the dialogs of a client with their messages, in their order.
    Show {
        /// The client's source.
        #[arg(long)]
        external_client_id: String,
        /// The client's phone, or scheme:id.
        #[arg(long, visible_alias = "client-phone")]
        client_address: String,
        /// How many messages to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
}

/// Shows them.
pub async fn run(command: Command, database: &Database) -> anyhow::Result<()> {
    let Command::Show { external_client_id, client_address, limit } = command;
    let (external, address) =
        match (ExternalClientId::parse(&external_client_id), Address::parse(&client_address)) {
            (Ok(external), Ok(address)) => (external, address),
            (Err(_), _) => bail!("--external-client-id is not valid"),
            (_, Err(_)) => bail!("--client-address is not valid"),
        };
    let client_id = ClientId::of(&external, &address);
    let mut connection = database.reader().await?;
    show(&mut connection, client_id, limit).await
}

async fn show(connection: &mut PgConnection, client_id: ClientId, limit: i64) -> anyhow::Result<()> {
    let messages = sqlx::query!(
        r#"select dialogs.id as dialog_id,
                  to_char(dialogs.opened_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as "opened_at!",
                  to_char(dialogs.closed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as closed_at,
                  to_char(messages.appended_at at time zone 'UTC', 'HH24:MI:SS.MS') as "appended_at!",
                  messages.external_message_id, messages.text
           from dialogs
           join messages on messages.client_id = dialogs.client_id and messages.dialog_id = dialogs.id
           where dialogs.client_id = $1
           order by messages.topic_ref, messages.partition, messages.record_offset
           limit $2"#,
        client_id.as_uuid(),
        limit
    );
    let messages = messages.fetch_all(connection).await?;
    if messages.is_empty() {
        bail!("client {} has no dialogs", client_id.as_uuid());
    }
    say(&format!("client {}", client_id.as_uuid()))?;
    let mut dialog = None;
    for message in messages {
        if dialog.replace(message.dialog_id) != Some(message.dialog_id) {
            let closed = message.closed_at.map_or_else(|| "active".to_owned(), |at| format!("closed {at}"));
            say(&format!("  dialog {}, opened {}, {closed}", message.dialog_id, message.opened_at))?;
        }
        let (id, text) = (printable(&message.external_message_id), printable(&message.text));
        say(&format!("    {}  {id:<12}  {text}", message.appended_at))?;
    }
    Ok(())
}
