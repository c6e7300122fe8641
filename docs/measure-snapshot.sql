-- What docs/database.md says of the compare-and-set beside a long snapshot, measured: 500 updates a second over 12
-- partitions, beside one session that keeps a `repeatable read` transaction open. `seconds` is how long, 1800 if nobody
-- says. On a PostgreSQL of its own, which is gone afterwards, once `make test` has built dev-env:
--   target/release/dev-env with-services -- bash -c 'psql "$TELEX_TEST_DATABASE_URL" -v seconds=300 -f docs/measure-snapshot.sql'
-- Prints the time of the statement, for six partitions each, by half minutes, and the pages that finding a row reads before and after.
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?seconds}
\else
\set seconds 1800
\endif
\ir ../migrations/0001_create_progress.sql
\ir ../migrations/0002_create_clients_dialogs_messages.sql
\ir ../migrations/0003_create_halts.sql
\ir ../migrations/0004_add_replay_to_dead_letters.sql
\ir ../migrations/0005_create_dialog_rules.sql
\ir ../migrations/0006_create_placements.sql
\ir ../migrations/0007_create_proofs.sql
\ir ../migrations/0008_create_reader_views.sql
\ir ../migrations/0009_count_what_kafka_explains.sql
\ir ../migrations/0010_collate_keys_by_bytes.sql

insert into topics (topic_ref, cluster_id, name, topic_id, partition_count) values (1, 'measured', 'telex.messages', gen_random_uuid(), 12);
insert into partition_progress (topic_ref, partition, birth_offset, next_offset, owner_epoch) select 1, p, 0, 0, 1 from generate_series(0, 11) as p;

-- A step of each of six partitions, one message in each, by the statement of processor/src/store/progress.rs `advance`.
create function step_of(first integer, at bigint) returns bigint language plpgsql as $$
declare
    partitions integer[] := array(select generate_series(first, first + 5));
    epochs bigint[] := array_fill(1::bigint, array[6]);
    froms bigint[] := array_fill(at, array[6]);
    tos bigint[] := array_fill(at + 1, array[6]);
    digests bytea[] := array_fill(sha256(at::text::bytea), array[6]);
    ones bigint[] := array_fill(1::bigint, array[6]);
    zeros bigint[] := array_fill(0::bigint, array[6]);
    moved bigint;
begin
    update partition_progress as row
    set next_offset = step.next_offset, last_digest = coalesce(step.last_digest, row.last_digest),
        last_offset = nullif(coalesce(step.last_offset, row.last_offset, row.next_offset - 1), step.next_offset - 1),
        messages = row.messages + step.messages, duplicates = row.duplicates + step.duplicates,
        commands = row.commands + step.commands, dead_letters = row.dead_letters + step.dead_letters,
        control = row.control + step.control, updated_at = now()
    from unnest(partitions, epochs, froms, tos, digests, froms, ones, zeros, zeros, zeros, zeros)
         as step (partition, owner_epoch, from_offset, next_offset, last_digest, last_offset,
                  messages, duplicates, commands, dead_letters, control)
    where row.topic_ref = 1 and row.partition = step.partition
      and row.next_offset = step.from_offset and row.owner_epoch = step.owner_epoch;
    get diagnostics moved = row_count;
    return moved;
end $$;

create unlogged table samples (second integer, updates bigint, median_ms numeric, average_ms numeric, longest_ms numeric);
create procedure drive(seconds integer) language plpgsql as $$
declare
    began timestamptz := clock_timestamp();
    sampled timestamptz := began;
    due timestamptz := began;
    started timestamptz;
    at bigint[] := array[0, 0];
    half integer := 1;
    took numeric[] := '{}';
begin
    while clock_timestamp() < began + make_interval(secs => seconds) loop
        half := 3 - half;
        started := clock_timestamp();
        if step_of((half - 1) * 6, at[half]) <> 6 then
            raise exception 'the compare-and-set missed';
        end if;
        took := took || extract(epoch from clock_timestamp() - started) * 1000;
        commit;
        at[half] := at[half] + 1;
        if clock_timestamp() >= sampled + interval '30 seconds' then
            insert into samples
            select extract(epoch from clock_timestamp() - began), count(*) * 6, percentile_disc(0.5) within group (order by ms), avg(ms), max(ms)
            from unnest(took) as step (ms);
            commit;
            took := '{}';
            sampled := clock_timestamp();
        end if;
        -- 12 ms for six updates; what is late is not made up for by a burst of more than a second.
        due := greatest(due + interval '12 ms', clock_timestamp() - interval '1 second');
        perform pg_sleep(greatest(extract(epoch from due - clock_timestamp()), 0));
    end loop;
end $$;

-- The pages that are read to find one row.
\set look 'explain (analyze, buffers, costs off, timing off) select next_offset from partition_progress where topic_ref = 1 and partition = 3;'
\echo == before
:look
\setenv SNAPSHOT_SECONDS :seconds
\! psql "$TELEX_TEST_DATABASE_URL" --quiet --no-psqlrc --command "begin isolation level repeatable read" --command "table topics" --command "select pg_sleep($SNAPSHOT_SECONDS + 60)" > /dev/null 2>&1 &
select pg_sleep(2);
call drive(:seconds);
\echo == after
:look
select second, updates, round(median_ms, 3) as median_ms, round(average_ms, 3) as average_ms, round(longest_ms, 3) as longest_ms from samples;
select n_tup_upd, n_tup_hot_upd, n_dead_tup, pg_size_pretty(pg_relation_size(relid)) as heap, pg_size_pretty(pg_indexes_size(relid)) as indexes,
       round(heap_blks_hit / nullif(n_tup_upd, 0)::numeric, 1) as heap_pages_an_update
from pg_stat_user_tables join pg_statio_user_tables using (relid, relname) where relname = 'partition_progress';
