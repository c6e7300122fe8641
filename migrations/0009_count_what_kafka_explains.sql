-- Offsets that hold nothing to apply: markers of Kafka's transactions and records of aborted ones. They are counted like
-- records, so that the counters of a partition still add up to next_offset - birth_offset.
alter table partition_progress
    add column control     bigint not null default 0,
    -- Where the record of last_digest lies; null: directly before next_offset. Null and not a number as a rule, so that
    -- a processor of the version before, which does not know the column, leaves a row that is right.
    add column last_offset bigint;

-- The same of what was proved.
alter table proved_partitions
    add column control     bigint not null default 0,
    add column last_offset bigint;

-- A baseline (scope and verdict `baseline`) is a person's decision where later proofs go on: who, and why.
alter table proofs
    add column operator text,
    add column note     text;
