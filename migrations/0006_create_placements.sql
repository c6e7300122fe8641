-- A topic gets more partitions. How many there are, and over how many the keys are spread, are two
-- numbers: the second changes by an operator's command, from an offset on (docs/growing-partitions.md).

-- Partitions that ever had a row in partition_progress; null: partition_count of them. A partition
-- beyond is new and starts at the start of its log; one below without a row has lost it, and stops.
alter table topics add column known_partitions integer;

-- From which offset of a partition on the keys of its records are spread over how many partitions.
-- Before the first row it is topics.partition_count. A count is a multiple of the one before: a client
-- stays or moves to a higher partition, so that (topic_ref, partition, record_offset) stays the order
-- of its messages.
create table placements (
    topic_ref       smallint    not null,
    partition       integer     not null,
    partition_count integer     not null,
    from_offset     bigint      not null,
    switched_at     timestamptz not null default now(),
    -- Serves the placements of a partition, when it is taken up.
    constraint placements_pkey primary key (topic_ref, partition, partition_count),
    constraint placements_topic_ref_partition_fkey foreign key (topic_ref, partition) references partition_progress,
    constraint placements_partition_count_check check (partition < partition_count)
);
