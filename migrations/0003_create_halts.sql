-- Partitions that stand still, what a person decided about them, and what that skipped.

-- An operator may move a partition over offsets, or back. What no record accounts for is counted here,
-- so that the sum still closes:
-- next_offset - birth_offset = messages + duplicates + commands + dead_letters + skipped - repeated.
alter table partition_progress
    add column skipped  bigint not null default 0,
    add column repeated bigint not null default 0,
    add constraint partition_progress_skipped_check check (skipped >= 0),
    add constraint partition_progress_repeated_check check (repeated >= 0);

-- Stops, each until a person resumes it. While one stands, nobody takes the partition up.
create table halts (
    halt_id    bigint      generated always as identity,
    topic_ref  smallint    not null,
    partition  integer     not null,
    reason     text        not null,
    -- The reason's numbers: {"next_offset": 5, "log_start": 9}.
    numbers    jsonb       not null,
    -- The same as a sentence.
    detail     text        not null,
    owner      text        not null,
    halted_at  timestamptz not null default now(),
    resumed_at timestamptz,
    constraint halts_pkey primary key (halt_id),
    constraint halts_topic_ref_fkey foreign key (topic_ref) references topics
);

-- A partition stands still once, however many owners notice. Serves the question of each takeover.
create unique index halts_standing_topic_ref_partition_key on halts (topic_ref, partition) where resumed_at is null;

-- What a person has moved: a row a partition and command, written in the transaction that moves it.
create table interventions (
    intervention_id bigint      generated always as identity,
    topic_ref       smallint    not null,
    partition       integer     not null,
    -- The halt that it resumed; null for a move of a partition that did not stand still.
    halt_id         bigint,
    reason          text        not null,
    from_offset     bigint      not null,
    to_offset       bigint      not null,
    -- What the move added to partition_progress.skipped and .repeated.
    skipped         bigint      not null,
    repeated        bigint      not null,
    -- Of the skipped: those whose records were still in the log.
    skipped_in_log  bigint      not null,
    note            text        not null,
    -- Who: as the person said, and as the server knows.
    operator        text        not null,
    database_user   text        not null default session_user,
    at              timestamptz not null default now(),
    -- Serves the list by time.
    constraint interventions_pkey primary key (intervention_id),
    constraint interventions_topic_ref_fkey foreign key (topic_ref) references topics,
    constraint interventions_halt_id_fkey foreign key (halt_id) references halts
);
