-- What the roles may do with the tables. `processor migrate` applies it after the migrations, each time, for those roles
-- that are there: a managed database may have none of them. In one statement, so that nobody ever sees half of it.
do $$
declare
    writable record;
begin
    -- Two migrators at once would change the same rows of the catalogue.
    perform pg_advisory_xact_lock(hashtext('telex grants'));

    if exists (select from pg_roles where rolname = 'telex_reader') then
        grant select on all tables in schema public to telex_reader;
    end if;

    if exists (select from pg_roles where rolname = 'telex_processor') then
        revoke all on all tables in schema public from telex_processor;
        grant select on all tables in schema public to telex_processor;
        -- No delete, no truncate: nothing that was written goes. What an operator's commands change beyond this
        -- (halts resume, progress set, partitions, dialog-rules, dead-letters replay) takes telex_migrator.
        for writable in
            select * from (values
                ('clients', 'insert'),
                ('dialogs', 'insert, update'),
                ('messages', 'insert'),
                ('client_aliases', 'insert'),
                ('dead_letters', 'insert, update'),
                ('partition_progress', 'insert, update'),
                ('halts', 'insert'),
                -- The first processor registers the topic, and whoever registers a new partition locks its row.
                ('topics', 'insert, update'),
                ('dialog_rule_starts', 'insert'),
                ('proofs', 'insert'),
                ('proved_partitions', 'insert, update, delete')
            ) as granted (name, rights)
            where to_regclass('public.' || name) is not null
        loop
            execute format('grant %s on %I to telex_processor', writable.rights, writable.name);
        end loop;
    end if;
end
$$;
