#!/usr/bin/env bash
# What docs/upgrades.md says of the migrations, measured: fills the tables of 0001 and 0002, applies the others one after
# the other, and prints a table at its end: which locks each held when it was done, and how long it took.
#
# It runs on a PostgreSQL of its own, which is gone afterwards, and needs psql. 30 million messages take up to 25 GB of
# the disk. It says on standard error how far it is. Once `make test` has built dev-env:
#   target/release/dev-env with-services -- docs/measure-migrations.sh [MESSAGES [CLIENTS [DIALOGS]]]
set -euo pipefail
cd "$(dirname "$0")/../migrations"
messages=${1:-30000000} clients=${2:-1000000} dialogs=${3:-1500000}
: "${TELEX_TEST_DATABASE_URL:?it is set by dev-env with-services}"
# None of them takes as long; what hangs ends the run.
export PGOPTIONS='-c statement_timeout=20min -c lock_timeout=1min'

ask() {
	psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@" "$TELEX_TEST_DATABASE_URL"
}
say() { printf '%4d s  %s\n' "$SECONDS" "$*" >&2; }

# The rows, their index twice while 0010 builds it again, what a sort writes, and 4 GB of WAL.
need=$((messages * 600 / 1024 + 5 * 1024 * 1024))
free=$(df -Pk "$(ask --command 'show data_directory')" | awk 'NR == 2 { print $4 }')
((free > need)) || { echo "$((need / 1024)) MB of the disk are needed, and $((free / 1024)) MB are free" >&2; exit 1; }

# Only relations that were there before: nobody else waits for one that the transaction has made.
apply() {
	ask --set file="$1" <<'SQL'
select coalesce(json_object_agg(oid, relname), '{}') as there
from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') \gset
checkpoint;
select clock_timestamp() as started \gset
begin;
\i :file
with modes as (
    select array['AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',
                 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'] as weakest_first
), held as (
    select there.value as relation, max(array_position(weakest_first, mode)) as strength
    from modes, pg_locks
    join json_each_text(:'there') as there on there.key = pg_locks.relation::text
    where pid = pg_backend_pid() and locktype = 'relation'
    group by there.value
)
select coalesce(string_agg(format('%s `%s`', weakest_first[strength], relation), ', ' order by strength desc, relation), '')
    as locks
from held, modes \gset
commit;
select format('| %s | %s | %s s |', left(:'file', 4), :'locks',
              round(extract(epoch from clock_timestamp() - :'started'::timestamptz), 2));
SQL
}

# Message i belongs to client i modulo their number, so that a client's messages lie far apart. Ids lie as UUIDv5 do, at
# random: the index is built when all rows are there, since filling it one by one would take most of the time.
fill() {
	ask --set messages="$messages" --set clients="$clients" --set dialogs="$dialogs" <<'SQL'
set synchronous_commit = off;
create function client_of(n bigint) returns uuid immutable parallel safe language sql as $$ select md5('c' || n)::uuid $$;
create function dialog_of(n bigint, k bigint) returns uuid immutable parallel safe language sql as $$ select md5('d' || n || '/' || k)::uuid $$;

insert into topics (topic_ref, cluster_id, name, topic_id, partition_count) values (1, 'measured', 'telex.messages', gen_random_uuid(), 12);
insert into partition_progress (topic_ref, partition, birth_offset, next_offset) select 1, p, 0, 0 from generate_series(0, 11) as p;
insert into clients
select client_of(n), 'client' || lpad((n % 200)::text, 26, '0'), '+7' || lpad(n::text, 10, '0'), timestamptz '2026-01-01' + n * interval '1 second'
from generate_series(0, :clients - 1) as n;
-- The first dialog of each client, closed where a second follows.
insert into dialogs (client_id, id, opened_at, closed_at, close_reason, topic_ref, partition, opened_offset)
select client_of(d % :clients), dialog_of(d % :clients, d / :clients), timestamptz '2026-01-01' + d * interval '1 second',
       case when d + :clients < :dialogs then timestamptz '2026-02-01' end, case when d + :clients < :dialogs then 'command' end,
       1, d % :clients % 12, d / 12
from generate_series(0, :dialogs - 1) as d;
insert into dead_letters (topic_ref, partition, record_offset, reason, detail, key, value, headers, appended_at)
select 1, n % 12, n, 'malformed_json', 'expected value', decode(md5(n::text), 'hex'), convert_to(repeat('words ', 40), 'UTF8'), '[]', timestamptz '2026-03-01'
from generate_series(0, :messages / 1000) as n;

alter table messages drop constraint messages_pkey;
-- It would read all rows again and again while they come, and a migration would wait for it.
alter table messages set (autovacuum_enabled = off);
prepare fill (bigint, bigint) as
insert into messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref, client_id, dialog_id, body_hash, external_message_id, request_id, text)
select i / 12, timestamptz '2026-03-01' + i * interval '1 ms', timestamptz '2026-03-01' + i * interval '1 ms', null, i % :clients % 12, 1,
       client_of(i % :clients), dialog_of(i % :clients, case when i % :clients + :clients < :dialogs then i * 2 / :messages else 0 end),
       decode(md5(i::text), 'hex'), 'wamid.' || i, gen_random_uuid()::text, repeat('words ', 3 + (i % 20)::integer)
from generate_series($1, $2) as i;
select format('execute fill (%s, %s)', low, least(low + 999999, :messages - 1))
from generate_series(0, :messages - 1, 1000000) as low \gexec
alter table messages add constraint messages_pkey primary key (client_id, external_message_id);
vacuum (analyze);
SQL
}

describe() {
	ask --no-align --field-separator ' = ' --command "
		select name, current_setting(name)
		from unnest(array['server_version', 'shared_buffers', 'maintenance_work_mem', 'max_parallel_maintenance_workers', 'fsync']) as name"
	ask --field-separator ', ' --command "
		select relname, reltuples::bigint || ' rows', pg_size_pretty(pg_relation_size(oid)), 'indexes ' || pg_size_pretty(pg_indexes_size(oid))
		from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and reltuples > 0 order by pg_relation_size(oid) desc"
}

rows=()
for file in 0*.sql; do
	rows+=("$(apply "$file")")
	say "$file"
	if [[ $file == 0002_* ]]; then
		fill
		say "$messages messages of $clients clients are there"
		about=$(describe)
	fi
done
printf '%s\n\n' "$about"
printf '| migration | locks at its end | time |\n|---|---|---|\n'
printf '%s\n' "${rows[@]}"
