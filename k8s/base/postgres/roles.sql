-- The roles of Telex, run once by a superuser in the database `telex`, before `processor migrate`. Passwords are set
-- elsewhere. Least rights (S20): the migrator owns, the processor writes rows, the reader reads.
do $$
declare
  role text;
begin
  foreach role in array array['telex_migrator', 'telex_processor', 'telex_reader'] loop
    if not exists (select from pg_roles where rolname = role) then
      execute format('create role %I login', role);
    end if;
  end loop;
end
$$;

alter database telex owner to telex_migrator;
revoke all on database telex from public;
grant connect on database telex to telex_migrator, telex_processor, telex_reader;
alter schema public owner to telex_migrator;
revoke all on schema public from public;
grant usage on schema public to telex_processor, telex_reader;

-- What the migrator makes from now on: no delete, no truncate, no DDL for anybody else.
alter default privileges for role telex_migrator in schema public
  grant select, insert, update on tables to telex_processor;
alter default privileges for role telex_migrator in schema public
  grant usage on sequences to telex_processor;
alter default privileges for role telex_migrator in schema public
  grant select on tables to telex_reader;

-- The processor sets these itself for its writers; here they hold for whatever else uses its role (S22).
alter role telex_processor set idle_in_transaction_session_timeout = '10s';
alter role telex_processor set lock_timeout = '2s';
alter role telex_reader set default_transaction_read_only = on;
alter role telex_reader set statement_timeout = '60s';
