-- What the processors have applied of each topic, and the records that could not be applied.
-- Rows of these tables are changed in the transaction that writes what the records say.

-- One row a Kafka topic. A topic is its id, not its name: a topic that was deleted and created
-- again has the same name, other records and another id.
create table topics (
    topic_ref       smallint    not null,
    cluster_id      text        not null,
    name            text        not null,
    topic_id        uuid        not null,
    partition_count integer     not null,
    registered_at   timestamptz not null default now(),
    constraint topics_pkey primary key (topic_ref),
    constraint topics_cluster_id_topic_id_key unique (cluster_id, topic_id),
    constraint topics_partition_count_check check (partition_count > 0)
);

-- One row a partition: where it stands, who owns it, and what became of its records.
-- The counters add up to next_offset - birth_offset; `processor run` and `processor prove` check
-- it, not a constraint: a wrong counter has to be seen and named, not to fail a transaction.
create table partition_progress (
    topic_ref    smallint    not null,
    partition    integer     not null,
    birth_offset bigint      not null,
    next_offset  bigint      not null,
    owner_epoch  bigint      not null default 0,
    owner        text,
    -- SHA-256 of the last applied record's key, value and append time; null before the first.
    last_digest  bytea,
    messages     bigint      not null default 0,
    duplicates   bigint      not null default 0,
    commands     bigint      not null default 0,
    dead_letters bigint      not null default 0,
    updated_at   timestamptz not null default now(),
    -- Serves the compare-and-set, by (topic_ref, partition).
    constraint partition_progress_pkey primary key (topic_ref, partition),
    constraint partition_progress_topic_ref_fkey foreign key (topic_ref) references topics,
    constraint partition_progress_birth_offset_check check (birth_offset >= 0),
    constraint partition_progress_next_offset_check check (next_offset >= birth_offset)
)
-- A hot row is rewritten by each transaction: room for new versions in its own page keeps the
-- updates out of the index (HOT).
with (fillfactor = 50);

-- A record that can never be applied, as it was.
create table dead_letters (
    topic_ref     smallint    not null,
    partition     integer     not null,
    record_offset bigint      not null,
    reason        text        not null,
    -- The rule that the record breaks; never its content.
    detail        text        not null,
    key           bytea,
    value         bytea,
    -- [{"name": …, "value": …}]; a name or value that is not text stands as name_hex or value_hex.
    headers       jsonb       not null,
    appended_at   timestamptz not null,
    replayed_at   timestamptz,
    -- Serves the list by place in the topic.
    constraint dead_letters_pkey primary key (topic_ref, partition, record_offset)
);
