-- What docs/database.md says of sizes, plans and the cost of an index, measured: 5 million messages of 500,000 clients in
-- tables as the migrations make them. On a PostgreSQL of its own, which is gone afterwards, once `make test` has built dev-env:
--   target/release/dev-env with-services -- bash -c 'psql "$TELEX_TEST_DATABASE_URL" -f docs/measure-tables.sql'
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\ir ../migrations/0001_create_progress.sql
\ir ../migrations/0002_create_clients_dialogs_messages.sql
\ir ../migrations/0003_create_halts.sql
\ir ../migrations/0004_add_replay_to_dead_letters.sql
\ir ../migrations/0005_create_dialog_rules.sql
\ir ../migrations/0006_create_placements.sql
\ir ../migrations/0008_create_reader_views.sql

-- Ids that lie as UUIDv5 do, at random; made from the number, so that a message finds its client.
create function client_of(n integer) returns uuid immutable parallel safe language sql as $$ select md5('c' || n)::uuid $$;
create function dialog_of(n integer, k integer) returns uuid immutable parallel safe language sql as $$ select md5('d' || n || '/' || k)::uuid $$;

insert into topics (topic_ref, cluster_id, name, topic_id, partition_count) values (1, 'measured', 'telex.messages', gen_random_uuid(), 12);
insert into partition_progress (topic_ref, partition, birth_offset, next_offset) select 1, p, 0, 0 from generate_series(0, 11) as p;
insert into clients
select client_of(n), 'client' || lpad((n % 200)::text, 26, '0'), '+7' || lpad(n::text, 10, '0'), timestamptz '2026-01-01' + n * interval '1 second'
from generate_series(1, 500000) as n;
-- Two dialogs a client, the first one closed.
insert into dialogs (client_id, id, opened_at, closed_at, close_reason, topic_ref, partition, opened_offset)
select client_of(n), dialog_of(n, k), timestamptz '2026-01-01' + (n + k) * interval '1 second',
       case k when 0 then timestamptz '2026-02-01' end, case k when 0 then 'command' end, 1, n % 12, n / 12
from generate_series(1, 500000) as n, generate_series(0, 1) as k;
-- In the order of the topic: message i belongs to client i modulo their number, so that a client's messages lie far apart.
prepare fill (integer, integer) as
insert into messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref, client_id, dialog_id, body_hash, external_message_id, request_id, text)
select i / 12, timestamptz '2026-03-01' + i * interval '1 ms', timestamptz '2026-03-01' + i * interval '1 ms', null, (i % 500000 + 1) % 12, 1,
       client_of(i % 500000 + 1), dialog_of(i % 500000 + 1, i / 2500000 % 2), decode(md5(i::text), 'hex'), 'wamid.' || i, gen_random_uuid()::text,
       repeat('words ', 3 + i % 20)
from generate_series($1, $2) as i on conflict do nothing;
execute fill (0, 4999999);
vacuum analyze;
checkpoint;

\echo == sizes
select relname as relation, relkind as kind, pg_size_pretty(pg_total_relation_size(oid)) as total, pg_size_pretty(pg_relation_size(oid)) as own,
       round(pg_relation_size(oid) / nullif(reltuples, 0)::numeric, 1) as bytes_a_row, reltuples::bigint as rows
from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'i') and reltuples > 100000 order by pg_relation_size(oid) desc;

\echo == the active dialog of clients that the cache does not hold
explain (analyze, buffers, costs off)
select client_id, id from dialogs where closed_at is null and client_id = any(array(select client_of(n) from generate_series(1, 1000) as n));
\echo == the body of a repeated id
explain (analyze, buffers, costs off)
select body_hash from messages where client_id = client_of(4242) and external_message_id = 'wamid.4241';
\echo == a search by pair
explain (analyze, buffers, costs off)
select id from clients where external_client_id = 'client00000000000000000000000042' and client_phone = '+70000004242';
\echo == dialog_messages of a client
explain (analyze, buffers, costs off)
select dialog_id, text from dialog_messages where external_client_id = 'client00000000000000000000000042' and client_phone = '+70000004242'
order by topic_ref, partition, record_offset;
\echo == client_overview of a client
explain (analyze, buffers, costs off) select * from client_overview where client_id = client_of(4242);
\echo == client_overview, a page of 50 of a source
explain (analyze, buffers, costs off)
select * from client_overview where external_client_id = 'client00000000000000000000000042' order by client_phone limit 50;
\echo == messages of the last hour, no index
explain (analyze, buffers, costs off) select count(*) from messages where appended_at >= timestamptz '2026-03-01' + interval '4900 seconds';

-- Bytes of WAL and pages touched do not depend on what else the machine does; the time does.
\echo == 200,000 messages, as it is
begin;
explain (analyze, buffers, wal, costs off, timing off) execute fill (5000000, 5199999);
rollback;
\echo == the same with one more index, by dialog
create index measured_dialog on messages (client_id, dialog_id, record_offset);
vacuum messages;
checkpoint;
select pg_size_pretty(pg_relation_size('measured_dialog')) as index_by_dialog;
begin;
explain (analyze, buffers, wal, costs off, timing off) execute fill (5000000, 5199999);
rollback;
drop index measured_dialog;
\echo == the same with one more index, by time
create index measured_time on messages (appended_at);
vacuum messages;
checkpoint;
select pg_size_pretty(pg_relation_size('measured_time')) as index_by_time;
begin;
explain (analyze, buffers, wal, costs off, timing off) execute fill (5000000, 5199999);
rollback;
vacuum messages;
\echo == messages of the last hour, with it
explain (analyze, buffers, costs off) select count(*) from messages where appended_at >= timestamptz '2026-03-01' + interval '4900 seconds';
drop index measured_time;
\echo == the same with a foreign key to dialogs
alter table messages add constraint measured_fkey foreign key (client_id, dialog_id) references dialogs (client_id, id);
vacuum messages;
checkpoint;
begin;
explain (analyze, buffers, wal, costs off, timing off) execute fill (5000000, 5199999);
rollback;
