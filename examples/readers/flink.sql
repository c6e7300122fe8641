-- Flink SQL (1.18 and later, flink-sql-connector-kafka): the topic as a table. Not run by the tests of this repository.
create table telex_messages (
    client_id           string,
    headers             map<string, bytes> metadata from 'headers' virtual,
    appended_at         timestamp_ltz(3) metadata from 'timestamp' virtual,
    external_client_id  string,
    client_phone        string,
    -- Instead of the phone in version 3, of a client without one: scheme:id.
    client_address      string,
    aliases             array<string>,
    external_message_id string,
    `text`              string,
    sent_at             string,
    watermark for appended_at as appended_at - interval '5' second
) with (
    'connector' = 'kafka',
    'topic' = 'telex.messages',
    'properties.bootstrap.servers' = '127.0.0.1:9092',
    'properties.group.id' = 'data-team.flink',
    -- Over TLS with a password (examples/readers/README.md, "Over TLS"):
    -- 'properties.security.protocol' = 'SASL_SSL',
    -- 'properties.ssl.truststore.type' = 'PEM',
    -- 'properties.ssl.truststore.location' = '/etc/telex/kafka-ca/ca.crt',
    -- 'properties.sasl.mechanism' = 'SCRAM-SHA-512',
    -- 'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="telex-data" password="…";',
    'scan.startup.mode' = 'earliest-offset',
    'key.format' = 'raw',
    'key.fields' = 'client_id',
    'value.format' = 'json',
    'value.fields-include' = 'EXCEPT_KEY',
    -- Fields that are added later are no error; garbage is skipped.
    'value.json.fail-on-missing-field' = 'false',
    'value.json.ignore-parse-errors' = 'true'
);

-- Each message once: the first of its copies.
create view messages_once as
select client_id, external_client_id, coalesce(client_phone, client_address) as client_address, external_message_id, `text`, appended_at
from (
    select *, row_number() over (partition by client_id, external_message_id order by appended_at) as copy
    from telex_messages
    where decode(headers['ce_type'], 'UTF-8')
          in ('telex.message.received.v1', 'telex.message.received.v2', 'telex.message.received.v3')
)
where copy = 1;
