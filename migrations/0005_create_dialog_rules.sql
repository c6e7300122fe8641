-- When a dialog ends because its client has been silent. The rule is data, in force from an offset
-- on: folding the topic again gives the same dialogs, whenever that is done.

-- Append time of the dialog's latest message, kept only while a rule with an idle gap applies to its
-- client: without one, a message costs the dialog's row nothing.
alter table dialogs add column last_message_at timestamptz;

-- One row a rule; a version is a whole set of them. Of the rules whose prefix begins the client's
-- external_client_id the longest prefix decides; the empty one stands for all.
create table dialog_rules (
    topic_ref                 smallint not null,
    version                   integer  not null,
    external_client_id_prefix text     not null,
    -- Null: these clients' dialogs are never idle.
    idle_gap_seconds          bigint,
    -- Serves the rules of a version.
    constraint dialog_rules_pkey primary key (topic_ref, version, external_client_id_prefix),
    constraint dialog_rules_topic_ref_fkey foreign key (topic_ref) references topics,
    constraint dialog_rules_idle_gap_seconds_check check (idle_gap_seconds > 0)
);

-- From which offset of a partition on a version is in force. Before the first there is no rule; a
-- version without rows in dialog_rules ends them all.
create table dialog_rule_starts (
    topic_ref   smallint    not null,
    partition   integer     not null,
    version     integer     not null,
    from_offset bigint      not null,
    set_at      timestamptz not null default now(),
    -- Serves the versions of a partition, when it is taken up.
    constraint dialog_rule_starts_pkey primary key (topic_ref, partition, version),
    constraint dialog_rule_starts_topic_ref_partition_fkey foreign key (topic_ref, partition) references partition_progress
);
