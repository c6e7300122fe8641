//! `processor tail`: the stream for a person's eyes. Phones and texts only if they are asked for.

use std::{
    io::{self, Write as _},
    ops::ControlFlow,
};

use anyhow::bail;
use schemas::{Address, ClientId, Envelope, Event, ExternalClientId, Partition, RecordFault, Timestamp};
use serde_json::{Value, json};

use super::output::printable;
use crate::{
    domain::record::RawRecord,
    kafka::{
        client::KafkaConfig,
        tail::{Begin, Scope, tail},
    },
};

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only records of this client.
    #[arg(long, value_parser = parse_client_id, conflicts_with = "external_client_id")]
    client_id: Option<ClientId>,
    /// Only messages of this source; with --client-address, all records of that client.
    #[arg(long)]
    external_client_id: Option<String>,
    /// The client's phone, or scheme:id.
    #[arg(long, visible_alias = "client-phone", requires = "external_client_id")]
    client_address: Option<String>,
    /// Only this partition.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Begin with this offset of --partition. Without this, --since or --from-beginning, begin with what comes next.
    #[arg(long, requires = "partition", conflicts_with_all = ["since", "from_beginning"])]
    from_offset: Option<i64>,
    /// Begin with what was appended at this time (RFC 3339) or later.
    #[arg(long, conflicts_with = "from_beginning")]
    since: Option<Timestamp>,
    /// Begin with the oldest record.
    #[arg(long)]
    from_beginning: bool,
    /// End with the last record that is there now, instead of waiting for more.
    #[arg(long)]
    no_follow: bool,
    /// End after this many records.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Show addresses and texts.
    #[arg(long)]
    content: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug)]
enum Filter {
    All,
    Client(ClientId),
    Source(ExternalClientId),
}

/// What a record says, or why it says nothing.
type Content = Result<(Event, Envelope), RecordFault>;

/// Shows them.
///
/// # Errors
/// The brokers did not answer, or the arguments have no meaning.
pub async fn run(args: Args, kafka: KafkaConfig) -> anyhow::Result<()> {
    let filter = filter(&args)?;
    let from = match (args.from_offset, args.since, args.from_beginning) {
        (Some(offset), _, _) => Begin::Offset(offset),
        (_, Some(time), _) => Begin::Time(time),
        (_, _, true) => Begin::Start,
        (None, None, false) => Begin::End,
    };
    let scope = Scope { partition: args.partition.map(Partition), from, follow: !args.no_follow };
    let mut left = args.limit;
    let show = move |record: &RawRecord| {
        let content = record.read();
        if !filter.takes(&content) {
            return Ok(ControlFlow::Continue(()));
        }
        let line = if args.json {
            as_json(record, &content, args.content).to_string()
        } else {
            as_text(record, &content, args.content)
        };
        let mut output = io::stdout().lock();
        match writeln!(output, "{line}").and_then(|()| output.flush()) {
            // `| head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ControlFlow::Break(())),
            result => result?,
        }
        left = left.map(|left| left.saturating_sub(1));
        Ok(if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    tokio::task::spawn_blocking(move || tail(&kafka, scope, show)).await?
}

fn filter(args: &Args) -> anyhow::Result<Filter> {
    let Some(source) = &args.external_client_id else {
        return Ok(args.client_id.map_or(Filter::All, Filter::Client));
    };
    let Ok(source) = ExternalClientId::parse(source) else { bail!("--external-client-id is not valid") };
    match args.client_address.as_deref().map(Address::parse) {
        None => Ok(Filter::Source(source)),
        Some(Ok(address)) => Ok(Filter::Client(ClientId::of(&source, &address))),
        Some(Err(_)) => bail!("--client-address is not valid"),
    }
}

impl Filter {
    fn takes(&self, content: &Content) -> bool {
        match (self, content) {
            (Self::All, _) => true,
            (Self::Client(client_id), Ok((event, _))) => event.client_id() == *client_id,
            (Self::Source(source), Ok((Event::MessageReceived(message), _))) => {
                message.external_client_id() == source
            }
            (Self::Client(_) | Self::Source(_), _) => false,
        }
    }
}

fn as_text(record: &RawRecord, content: &Content, show_content: bool) -> String {
    let place = format!("{}  {}/{}", record.appended_at, record.partition, record.offset);
    match content {
        Ok((Event::MessageReceived(message), _)) => {
            let source = printable(message.external_client_id().as_str());
            let id = printable(message.external_message_id().as_str());
            let line = format!("{place}  message  {}  {source}  {id}", message.client_id().as_uuid());
            if !show_content {
                return line;
            }
            let (address, text) = (printable(message.address().as_str()), printable(message.text().as_str()));
            format!("{line}  {address}  {text}")
        }
        Ok((Event::DialogClose(close), _)) => format!("{place}  close    {}", close.client_id.as_uuid()),
        Err(fault) => format!("{place}  {}: {fault}", fault.as_str()),
    }
}

fn as_json(record: &RawRecord, content: &Content, show_content: bool) -> Value {
    let mut line = json!({
        "partition": record.partition.0,
        "offset": record.offset.0,
        "appended_at": record.appended_at.to_string(),
    });
    let mut set = |name: &str, value: Value| {
        if let Some(line) = line.as_object_mut() {
            line.insert(name.to_owned(), value);
        }
    };
    match content {
        Ok((event, envelope)) => {
            set("type", event_type(record).into());
            set("client_id", event.client_id().key().into());
            set("received_at", envelope.received_at.to_string().into());
            set("request_id", envelope.request_id.as_ref().map(ToString::to_string).into());
            match event {
                Event::MessageReceived(message) => {
                    set("external_client_id", message.external_client_id().as_str().into());
                    set("external_message_id", message.external_message_id().as_str().into());
                    if show_content {
                        set("value", shown(record.value().unwrap_or_default()));
                    }
                }
                Event::DialogClose(_) => {}
            }
        }
        Err(fault) => {
            set("fault", fault.as_str().into());
            set("detail", fault.to_string().into());
        }
    }
    line
}

/// The first of its headers of that name counts.
fn event_type(record: &RawRecord) -> Option<&str> {
    let name = schemas::record::header::TYPE.as_bytes();
    let (_, value) = record.headers().find(|(header, value)| *header == name && value.is_some())?;
    std::str::from_utf8(value?).ok()
}

/// A value as JSON; one that holds what serde_json cannot, such as 1e400, as its text.
fn shown(value: &[u8]) -> Value {
    serde_json::from_slice(value).unwrap_or_else(|_| String::from_utf8_lossy(value).into())
}

fn parse_client_id(text: &str) -> Result<ClientId, &'static str> {
    ClientId::parse(text.as_bytes()).ok_or("must be a client id, in lower case with hyphens")
}
