"""What Schemathesis cannot know from the contract. `make test-api` loads it."""

import json
from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context, value):
    """A document a line; what is no array is one line."""
    items = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(item) for item in items).encode()


# A schema cannot say "a day from now".
schemathesis.openapi.format(
    "date-time",
    st.datetimes(
        min_value=datetime(2000, 1, 2),
        max_value=datetime.now() - timedelta(days=1),
        timezones=st.just(timezone.utc),
    ).map(datetime.isoformat),
)
