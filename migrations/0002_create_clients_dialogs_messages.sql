-- What the records say: clients, their dialogs, their messages.
--
-- Every unique key contains the client's id, so that these tables can be distributed by it.
-- Ids and times come from the records: folding the topic again gives the same rows.
-- There are no foreign keys between these tables: the transaction writes all three, `prove`
-- compares all three with the topic, and a key messages -> dialogs costs 10 % of the insert time.

create table clients (
    -- UUIDv5 of the pair below: also the Kafka key.
    id                 uuid        not null,
    external_client_id text        not null,
    client_phone       text        not null,
    -- When the client's first record was appended to the topic.
    created_at         timestamptz not null,
    constraint clients_pkey primary key (id),
    -- Refuses a second client of one pair, whoever writes; serves the search by pair.
    constraint clients_external_client_id_client_phone_key unique (external_client_id, client_phone)
);

create table dialogs (
    client_id     uuid        not null,
    -- UUIDv8 of the record that opened it: time of append, then a hash of its place.
    id            uuid        not null,
    opened_at     timestamptz not null,
    closed_at     timestamptz,
    close_reason  text,
    -- The record that opened it.
    topic_ref     smallint    not null,
    partition     integer     not null,
    opened_offset bigint      not null,
    -- Serves the dialogs of a client, in their order.
    constraint dialogs_pkey primary key (client_id, id),
    -- No check that closed_at follows opened_at: both are the broker's clock, which may step back.
    constraint dialogs_close_reason_check check ((closed_at is null) = (close_reason is null))
)
-- Closing changes a row once: room for the second version in its own page.
with (fillfactor = 90);

-- One active dialog a client: the partition order makes a refusal never happen, this index makes a
-- second one impossible, even with a foreign writer. Serves the search for the active dialog.
create unique index dialogs_active_client_id_key on dialogs (client_id) where closed_at is null;

create table messages (
    -- The record's place, (topic_ref, partition, record_offset), is the order of a client's messages.
    -- Columns stand in the order of their alignment: eight bytes, four, two, then those of any length.
    record_offset       bigint      not null,
    -- When Kafka appended the record; when the ingest API received the request; when the source says that it was sent.
    appended_at         timestamptz not null,
    received_at         timestamptz not null,
    sent_at             timestamptz,
    partition           integer     not null,
    topic_ref           smallint    not null,
    client_id           uuid        not null,
    dialog_id           uuid        not null,
    -- First 128 bits of SHA-256 of the canonical JSON: tells a duplicate from a reused id.
    body_hash           bytea       not null,
    external_message_id text        not null,
    request_id          text,
    text                text        not null,
    -- A message once per client, for ever. Serves the messages of a client and, as its prefix, of a
    -- dialog: a client has few, so no second index pays for its third of the insert time.
    constraint messages_pkey primary key (client_id, external_message_id)
);
