-- Where the replay of a dead letter went, written when the brokers have acknowledged it.
alter table dead_letters
    add column replayed_partition integer,
    add column replayed_offset    bigint,
    -- The number that the replayed record carries: 1 for the first replay of a record, one more for a
    -- letter that is itself a replay.
    add column replay_attempt     integer,
    add constraint dead_letters_replayed_check
        check (num_nulls(replayed_at, replayed_partition, replayed_offset, replay_attempt) in (0, 4));
