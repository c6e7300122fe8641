"""What Schemathesis cannot know from the contract. `make test-api` loads it."""

import json
import re
from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context, value):
    """A document a line; what is no array is one line."""
    items = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(item) for item in items).encode()


# A schema cannot say "the same as in the path".
CLIENT_ID = re.compile("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@schemathesis.hook
def map_case(_context, case):
    """A command whose body names a client names the one in its path. What is wrong on purpose stays so."""
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
