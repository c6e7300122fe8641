"""The JSON Schemas, tried by another implementation than ours: what was ever written is valid, what is wrong is not."""
import json
import pathlib
import sys

from jsonschema import Draft7Validator

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "tests" / "golden"

# All versions say the same of the fields that versions 1 and 2 look at.
VERSION_3 = "telex.message.received.v3"
MESSAGE_TYPES = ["telex.message.received.v1", "telex.message.received.v2", VERSION_3]
MESSAGE = {"external_client_id": "a", "client_phone": "+70000000000", "external_message_id": "1", "text": ""}
WRONG_MESSAGES = [
    *({k: v for k, v in MESSAGE.items() if k != name} for name in MESSAGE),
    MESSAGE | {"client_phone": "+7 000 000 00 00"},
    MESSAGE | {"client_phone": "70000000000"},
    MESSAGE | {"client_phone": "+7"},
    MESSAGE | {"external_client_id": ""},
    MESSAGE | {"external_client_id": " a"},
    MESSAGE | {"external_client_id": "a" * 129},
    MESSAGE | {"external_message_id": "a\u0007"},
    MESSAGE | {"text": None},
    MESSAGE | {"text": "\u0000"},
    MESSAGE | {"text": "a" * 16385},
    MESSAGE | {"sent_at": "2026-11-24T07:34:59+03:00"},
    MESSAGE | {"sent_at": None},
    [],
]
ADDRESS = {k: v for k, v in MESSAGE.items() if k != "client_phone"} | {"client_address": "tg:6001"}
WRONG_ADDRESSES = [
    MESSAGE | ADDRESS,
    *(ADDRESS | {"client_address": address} for address in (None, "", "+70000000000", "tg:", "icq:1", "TG:1", "tg: 1")),
    ADDRESS | {"client_address": "username:anna"},
    ADDRESS | {"client_address": "tg:1\u0007"},
    ADDRESS | {"client_address": "tg:" + "1" * 129},
    *(MESSAGE | {"aliases": aliases} for aliases in (None, [], "tg:1", [1], ["x"], ["+7 000 000 00 00"], ["tg:1", "tg:1"])),
    MESSAGE | {"aliases": ["tg:1", "tg:2", "tg:3", "tg:4", "tg:5"]},
]
WRONG = dict.fromkeys(MESSAGE_TYPES, WRONG_MESSAGES) | {
    VERSION_3: [*WRONG_MESSAGES, *WRONG_ADDRESSES],
    "telex.dialog.close.v1": [{}, {"client_id": "E60660C7-BD8F-5BA9-B814-6DBEE9550932"}, {"client_id": 1}, None],
}
RIGHT_MESSAGES = [
    MESSAGE,
    MESSAGE | {"text": "а" * 16384, "external_client_id": "a" * 128, "client_phone": "+1234567"},
    MESSAGE | {"sent_at": "2026-11-24T04:34:59.500000Z", "unknown": {"deep": [1]}},
]
RIGHT_ADDRESSES = [
    ADDRESS,
    ADDRESS | {"client_address": "instagram:" + "я" * 128, "aliases": ["+70000000000", "username:anna", "wa:GB.1"]},
    MESSAGE | {"aliases": ["wa-lid:1"]},
]
# To earlier versions these are members of the sender's.
RIGHT = dict.fromkeys(MESSAGE_TYPES, [*RIGHT_MESSAGES, MESSAGE | {"client_address": 7, "aliases": "x"}]) | {
    VERSION_3: [*RIGHT_MESSAGES, *RIGHT_ADDRESSES],
    "telex.dialog.close.v1": [{"client_id": "e60660c7-bd8f-5ba9-b814-6dbee9550932", "unknown": 1}],
}


def main():
    problems, tried = [], 0
    for path in sorted(HERE.glob("**/*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft7Validator.check_schema(schema)
        validator, event_type = Draft7Validator(schema), schema["title"]
        golden = json.loads((GOLDEN / f"{event_type}.json").read_text(encoding="utf-8"))
        values = [json.loads(golden["record"]["value"]), *RIGHT[event_type], *schema["examples"]]
        problems += [f"{path.name} refuses {value}" for value in values if not validator.is_valid(value)]
        problems += [f"{path.name} takes {value}" for value in WRONG[event_type] if validator.is_valid(value)]
        tried += len(values) + len(WRONG[event_type])
    if tried < 20:
        problems.append("there are no schemas here")
    sys.exit("\n".join(problems) or 0)


main()
