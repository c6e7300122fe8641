-- Keys of text are compared and sorted by their bytes, whatever locale the server has. A key that is sorted by a
-- locale changes its order with the operating system's or ICU's version, by an upgrade or a failover to another
-- system: its index then does not find what it holds, and lets a second copy in.
--
-- No table is written again, but the indexes of these columns are built again under an access exclusive lock: 5
-- million messages take seconds to a minute. Views cannot keep a column whose type changes: both are made again as
-- 0008 made them, and lose rights that others than telex_reader and telex_processor were given on them.
drop view dialog_messages;
drop view client_overview;

alter table clients
    alter column external_client_id type text collate "C",
    alter column client_phone type text collate "C";
alter table messages alter column external_message_id type text collate "C";
alter table topics alter column cluster_id type text collate "C";
alter table dialog_rules alter column external_client_id_prefix type text collate "C";

-- One row a page, from each row's next move on: while a long snapshot keeps old versions (a dump, `prove`, a report),
-- rows that share a page leave it together, and each then has a version in every page. Measured in docs/database.md.
alter table partition_progress set (fillfactor = 10);

-- The messages of dialogs. Ask with client_id, or with the pair: both reach the rows by an index. The order is
-- (topic_ref, partition, record_offset).
create view dialog_messages as
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
       messages.record_offset
from messages
join dialogs on dialogs.client_id = messages.client_id and dialogs.id = messages.dialog_id
join clients on clients.id = messages.client_id;

-- One row a client: what there is of it. Each client costs three index lookups: for one client, or a page of them.
create view client_overview as
select clients.id as client_id,
       clients.external_client_id,
       clients.client_phone,
       clients.created_at,
       active.id as active_dialog_id,
       active.opened_at as active_dialog_opened_at,
       (select count(*) from dialogs where dialogs.client_id = clients.id) as dialogs,
       counted.messages,
       counted.last_message_at
from clients
left join dialogs as active on active.client_id = clients.id and active.closed_at is null
cross join lateral (
    select count(*) as messages, max(messages.appended_at) as last_message_at
    from messages
    where messages.client_id = clients.id
) as counted;
