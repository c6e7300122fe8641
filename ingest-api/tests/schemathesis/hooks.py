"""What Schemathesis cannot know from the contract. `make test-api` loads it."""

import json
import re
import tomllib
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import schemathesis
from hypothesis import strategies as st


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context, value):
    """A document a line; what is no array is one line."""
    items = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(item) for item in items).encode()


# A schema cannot say "the same as in the path".
CLIENT_ID = re.compile("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


# Nor can it say which hooks there are, and what proves that a webhook is from their provider.
with Path(__file__).with_name("producers.toml").open("rb") as file:
    [PRODUCER] = tomllib.load(file)["producers"]
HOOKS = {hook["name"]: hook for hook in PRODUCER["hooks"]}
PHONE = "447700900123"


def choice_of(case):
    """0 to 7, the same for the same webhook."""
    body = case.body if isinstance(case.body, (dict, list, str, int, float)) else ""
    return zlib.crc32(repr((case.path_parameters, body)).encode(errors="replace")) % 8


def hook_for(case, choice):
    """One that reads such a body, or a query."""
    has_secret = "secret" in case.path_parameters
    is_json = case.media_type == "application/json" and isinstance(case.body, (dict, list, str, int, float, type(None)))
    if case.method == "GET":
        return "query" if has_secret else "look"
    if not is_json:
        return "chat" if has_secret else "sms"
    return "sms-list" if has_secret else ("open", "bot")[choice // 2 % 2]


def with_message(name, body):
    """What the hook makes a message of, with the body that was made from the contract within it or beside it."""
    if name == "open":
        return {"list": [body, {"id": 1, "phone": PHONE, "text": body}]}
    if name == "bot":
        chat = {"id": 5, "type": "private"}
        return {"message": {"message_id": 1, "from": {"id": 5}, "chat": chat, "date": 1795494900, "text": body}}
    if name == "sms-list":
        return [body, {"dest_code": "1", "sequence_id": "1", "phone_number": "13000000000", "content": body}]
    if not isinstance(body, dict):
        return body
    if name == "sms":
        return {**body, "To": "+12025550100", "From": f"+{PHONE}", "MessageSid": "1", "Body": "Hello"}
    return {**body, "name": "new message", "payload": json.dumps({"message": {"id": 1, "dialogId": 5, "text": "Hello"}})}


def send_to_a_hook(case):
    """Most webhooks go to hooks that there are, most of these with a proof, and half of them with a message."""
    choice = choice_of(case)
    if choice == 0:
        return
    name = hook_for(case, choice)
    path = {**case.path_parameters, "name": name}
    if choice != 1:
        if "secret" in path and "secrets" in HOOKS[name]:
            path["secret"] = HOOKS[name]["secrets"][0]["secret"]
        if name == "bot":
            case.headers["x-telegram-bot-api-secret-token"] = HOOKS[name]["secrets"][0]["secret"]
        if name == "look":
            token = HOOKS[name]["verify_tokens"][0]["secret"]
            case.query = {"hub.verify_token": token, "hub.challenge": f"challenge-{choice}"}
        if name == "query":
            case.query = {"To": "+12025550100", "From": f"+{PHONE}", "MessageSid": str(choice), "Body": "Hello"}
    case.path_parameters = path
    if case.method == "POST" and choice % 2:
        message = with_message(name, case.body)
        if message is not case.body:
            case.body = message


@schemathesis.hook
def map_case(_context, case):
    """What is wrong on purpose stays so."""
    if case.path.startswith("/v1/hooks/"):
        is_wrong = case.meta is None or case.meta.generation.mode.is_negative
        if not is_wrong and case.path_parameters:
            send_to_a_hook(case)
        return case
    return name_the_client_of_the_path(case)


def name_the_client_of_the_path(case):
    """A command whose body names a client names the one in its path."""
    body = case.body
    if isinstance(body, dict) and list(body) == ["client_id"] and CLIENT_ID.match(str(body["client_id"])):
        case.body = {"client_id": (case.path_parameters or {}).get("client_id", body["client_id"])}
    return case


# A schema cannot say "a day from now".
schemathesis.openapi.format(
    "date-time",
    st.datetimes(
        min_value=datetime(2000, 1, 2),
        max_value=datetime.now() - timedelta(days=1),
        timezones=st.just(timezone.utc),
    ).map(datetime.isoformat),
)
