-- Clients without a phone, and the other addresses of a client.
--
-- `client_phone` keeps its name: every query that asks by the pair goes on as it is, and a rename would take the column
-- away from processors and readers of the version before. A phone begins with `+`, everything else with a letter.
comment on column clients.client_phone is
    'The client''s address: a phone (+ and digits), or scheme:id for a client without one';

-- What messages name beside the address of their client: phones, ids and user names of the same person. A row a client
-- and alias, written with the message that first names it; a message without aliases costs nothing here.
create table client_aliases (
    -- The record of that message, and when it was appended.
    record_offset bigint      not null,
    named_at      timestamptz not null,
    partition     integer     not null,
    topic_ref     smallint    not null,
    client_id     uuid        not null,
    -- A phone, or scheme:id. `username:…` is there to be shown: user names change hands.
    alias         text        collate "C" not null,
    -- Serves `on conflict` of the insert, and the aliases of a client.
    constraint client_aliases_pkey primary key (client_id, alias)
);

-- Serves `people`: who else names this alias, and whose alias an address is. Not unique: people share a phone.
create index client_aliases_alias_idx on client_aliases (alias);

create or replace view dialog_messages as
select messages.client_id,
       clients.external_client_id,
       clients.client_phone,
       messages.dialog_id,
       dialogs.opened_at as dialog_opened_at,
       dialogs.closed_at as dialog_closed_at,
       dialogs.close_reason,
       messages.external_message_id,
       messages.text,
       messages.sent_at,
       messages.received_at,
       messages.appended_at,
       messages.request_id,
       messages.topic_ref,
       messages.partition,
       messages.record_offset,
       -- The same as client_phone, by the name of what it holds since 0011.
       clients.client_phone as client_address
from messages
join dialogs on dialogs.client_id = messages.client_id and dialogs.id = messages.dialog_id
join clients on clients.id = messages.client_id;

create or replace view client_overview as
select clients.id as client_id,
       clients.external_client_id,
       clients.client_phone,
       clients.created_at,
       active.id as active_dialog_id,
       active.opened_at as active_dialog_opened_at,
       (select count(*) from dialogs where dialogs.client_id = clients.id) as dialogs,
       counted.messages,
       counted.last_message_at,
       clients.client_phone as client_address,
       array(
           select client_aliases.alias from client_aliases
           where client_aliases.client_id = clients.id
           order by client_aliases.alias
       ) as aliases
from clients
left join dialogs as active on active.client_id = clients.id and active.closed_at is null
cross join lateral (
    select count(*) as messages, max(messages.appended_at) as last_message_at
    from messages
    where messages.client_id = clients.id
) as counted;

-- Which clients of one source belong to one person, as far as their messages say so: a row for each alias that links a
-- client with another one. Ask with client_id, or with the pair: a client costs a few index lookups, and only lateral
-- parts are reached by them also from a join or from the pair. Who is linked with whom is said in both directions, and
-- one step far; nothing is merged, so each of them may have an active dialog.
create view people as
select me.id as client_id,
       me.external_client_id,
       me.client_phone as client_address,
       other.id as other_client_id,
       other.client_phone as other_client_address,
       linked.alias,
       -- shared: both name the alias | mine: it is the other's address | theirs: it is this client's address
       linked.whose
from clients as me
cross join lateral (
    select theirs.client_id, mine.alias, 'shared' as whose
    from client_aliases as mine
    join client_aliases as theirs on theirs.alias = mine.alias and theirs.client_id <> mine.client_id
    where mine.client_id = me.id and not starts_with(mine.alias, 'username:')
    union all
    select owner.id, mine.alias, 'mine'
    from client_aliases as mine
    join clients as owner on owner.external_client_id = me.external_client_id and owner.client_phone = mine.alias
    where mine.client_id = me.id
    union all
    select theirs.client_id, theirs.alias, 'theirs'
    from client_aliases as theirs
    where theirs.alias = me.client_phone
) as linked
join clients as other on other.id = linked.client_id and other.external_client_id = me.external_client_id;
