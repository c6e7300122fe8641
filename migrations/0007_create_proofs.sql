-- What `processor prove` has found, and from where `processor prove --since-last` goes on.

-- One row a proof.
create table proofs (
    proof_id        bigint           generated always as identity,
    topic_ref       smallint         not null,
    -- The moment that was looked at: of the snapshot, not of the verdict.
    proved_at       timestamptz      not null,
    -- full | since_last
    scope           text             not null,
    -- clean | differs | not_provable
    verdict         text             not null,
    records         bigint           not null,
    findings        bigint           not null,
    elapsed_seconds double precision not null,
    -- Serves the list by time.
    constraint proofs_pkey primary key (proof_id),
    constraint proofs_topic_ref_fkey foreign key (topic_ref) references topics
);

-- How far each partition was proved by the last clean proof, with what the next needs to go on: which
-- record was the last, and what became of all records up to there. No rows: there
-- is nothing to go on from, either because nothing was proved or because a full proof found a difference.
create table proved_partitions (
    topic_ref        smallint    not null,
    partition        integer     not null,
    proof_id         bigint      not null,
    -- The partition's next offset at that time.
    proved_to        bigint      not null,
    -- Of the record before it; null if there is none that was applied.
    last_digest      bytea,
    messages         bigint      not null,
    duplicates       bigint      not null,
    commands         bigint      not null,
    dead_letters     bigint      not null,
    -- Serves the next proof, and the upsert of this one.
    constraint proved_partitions_pkey primary key (topic_ref, partition),
    constraint proved_partitions_topic_ref_fkey foreign key (topic_ref) references topics,
    constraint proved_partitions_proof_id_fkey foreign key (proof_id) references proofs
);
