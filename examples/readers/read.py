#!/usr/bin/env python3
"""Reads the topic, checks each record against the contract, and prints one JSON line for each message once.

    pip install -r examples/readers/requirements.txt
    python3 examples/readers/read.py --brokers 127.0.0.1:9092 --group my.team --until-end
    python3 examples/readers/read.py --brokers telex-kafka-bootstrap.telex.svc:9094 --group data-team.reports \
        --ca-file ca.crt --user telex-data --password-file password

What a reader has to get right: a group of its own, the type before the value, records that are no records, and a
message that comes twice. The offsets are committed after a record has been dealt with: what was under way when the
reader died comes again.
"""
import argparse
import decimal
import json
import pathlib
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from jsonschema import Draft7Validator

CONTRACT = pathlib.Path(__file__).resolve().parents[2] / "schemas" / "contract"


def validators():
    found = {}
    for path in CONTRACT.glob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        found[schema["title"]] = Draft7Validator(schema)
    return found


def decode(record, validators):
    """The event type, the client id, the event's id and the data; or why it is none, as a string."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers() or [] if value is not None}
    event_type = headers.get("ce_type")
    if event_type not in validators:
        return f"unknown type {event_type!r}"
    try:
        # The sender's own members may hold numbers that no float does: those with a fraction stay decimals.
        data = json.loads(record.value() or b"", parse_float=decimal.Decimal)
    except ValueError:
        return "no JSON"
    problem = next(validators[event_type].iter_errors(data), None)
    if problem is not None:
        # Not its message: it would quote what a client wrote.
        return f"breaks the contract at /{'/'.join(map(str, problem.absolute_path))}: {problem.validator}"
    client_id = (record.key() or b"").decode("utf-8", "replace")
    if headers.get("ce_source") != f"urn:telex:client:{client_id}":
        return "the key is not its client"
    return event_type, client_id, headers.get("ce_id"), data


# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: the broker that keeps the group's offsets
# has just started or moved. It passes.
PASSES = {14, 15, 16}


def patiently(ask, seconds=30):
    """The answer to a question about the group, asked again while its coordinator is not there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in PASSES or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def ends(consumer, topic):
    """Where each partition's log ends now, of those that hold something the group has not read."""
    partitions = [TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
    found = {}
    for place in patiently(lambda: consumer.committed(partitions, timeout=10)):
        low, high = consumer.get_watermark_offsets(place, timeout=10)
        # A group that has read nothing yet has a negative offset.
        if max(low, place.offset) < high:
            found[place.partition] = high
    return found


def secured(arguments):
    """The settings of a connection over TLS with a password, if they are asked for."""
    settings = {}
    if arguments.ca_file:
        settings |= {"security.protocol": "ssl", "ssl.ca.location": arguments.ca_file}
    if arguments.user:
        password = pathlib.Path(arguments.password_file).read_text(encoding="utf-8").strip()
        settings |= {
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": arguments.user,
            "sasl.password": password,
        }
    return settings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", default="127.0.0.1:9092")
    parser.add_argument("--topic", default="telex.messages")
    parser.add_argument("--group", required=True, help="a group of your own")
    parser.add_argument("--until-end", action="store_true", help="end with the last record that is there now")
    parser.add_argument("--ca-file", help="the authority of the brokers' certificates: TLS")
    parser.add_argument("--user", help="SCRAM-SHA-512 over TLS, as this user")
    parser.add_argument("--password-file", help="a file with the user's password")
    arguments = parser.parse_args()
    if (arguments.user is None) != (arguments.password_file is None):
        parser.error("--user and --password-file belong together")
    if arguments.group == "telex.processor":
        parser.error("--group telex.processor would take partitions away from the processors")

    known, seen, bad = validators(), set(), 0
    consumer = Consumer(
        {
            "bootstrap.servers": arguments.brokers,
            "group.id": arguments.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        | secured(arguments)
    )
    left = ends(consumer, arguments.topic) if arguments.until_end else None
    consumer.subscribe([arguments.topic])
    try:
        while left is None or left:
            record = consumer.poll(1.0)
            if record is None:
                continue
            if record.error():
                if record.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise SystemExit(f"kafka: {record.error()}")
            place = f"{record.partition()}/{record.offset()}"
            event = decode(record, known)
            if isinstance(event, str):
                bad += 1
                print(f"{place}: {event}", file=sys.stderr)
            else:
                event_type, client_id, event_id, data = event
                # A real reader asks its own store: this set forgets when the process ends, and grows for ever.
                # Both versions of a message are one message.
                event_key = (event_type.rpartition(".")[0], client_id, event_id)
                if event_key not in seen:
                    seen.add(event_key)
                    line = {"type": event_type, "client_id": client_id, "id": event_id, "place": place, "data": data}
                    # Escaped: a sender's half of a surrogate pair cannot be written as UTF-8.
                    print(json.dumps(line, default=str), flush=True)
            if arguments.until_end:
                patiently(lambda: consumer.commit(message=record, asynchronous=False))
            else:
                consumer.commit(message=record)
            if left is not None and record.offset() + 1 >= left.get(record.partition(), 1 << 62):
                del left[record.partition()]
    finally:
        consumer.close()
    print(f"{len(seen)} events, {bad} records outside the contract", file=sys.stderr)


if __name__ == "__main__":
    main()
