-- The three roles, created once by someone with the right to create roles, in Telex's database:
--   psql -v ON_ERROR_STOP=1 -f migrations/roles/create.sql DATABASE
-- Harmless to repeat. Passwords are given afterwards (`\password telex_processor`), or by whoever manages the roles; where
-- an operator makes the roles itself (CloudNativePG, a cloud's console), run this all the same for timeouts and rights.
-- What each may do with the tables is in grants.sql, which `processor migrate` applies.
do $$
declare
    name text;
begin
    foreach name in array array['telex_migrator', 'telex_processor', 'telex_reader'] loop
        begin
            execute format('create role %I login', name);
        exception
            when duplicate_object then null;
        end;
        execute format('grant connect on database %I to %I', current_database(), name);
        execute format('grant usage on schema public to %I', name);
    end loop;
    -- Nobody else: not even to make temporary tables.
    execute format('revoke all on database %I from public', current_database());
    revoke all on schema public from public;
    -- Owns what it makes.
    grant create on schema public to telex_migrator;
end
$$;

-- A migration that waits for a lock holds up everybody behind it.
alter role telex_migrator set lock_timeout = '5s';

-- A processor asks for these itself; here they hold for whoever else uses its name.
alter role telex_processor set statement_timeout = '5s';
alter role telex_processor set lock_timeout = '2s';
alter role telex_processor set idle_in_transaction_session_timeout = '10s';

-- A report must neither write by mistake nor keep old row versions alive for ever.
alter role telex_reader set default_transaction_read_only = on;
alter role telex_reader set statement_timeout = '60s';
alter role telex_reader set idle_in_transaction_session_timeout = '60s';
