#!/usr/bin/env python3
"""Sends one message to Telex: signed, and sent again with the same id until it is known to be kept.

  TELEX_URL=http://127.0.0.1:8080 TELEX_SECRET=whsec_… examples/send.py message.json

Exit status: 0 kept (202), 1 refused (sending it again changes nothing), 2 gave up.
"""

import base64
import hashlib
import hmac
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

ATTEMPTS_MAX = 10
ATTEMPT_TIMEOUT_SECONDS = 15
WAIT_SECONDS_MAX = 60


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Standard Webhooks, over the bytes that are sent: never over JSON that was written anew."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def attempt(url: str, secret: str, webhook_id: str, body: bytes) -> tuple[int, float | None, str]:
    """One request: status (0 without an answer), the seconds that Retry-After asks for, the answer."""
    timestamp = int(time.time())  # new for each attempt: it may be five minutes off at most
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, webhook_id, timestamp, body),
    }
    if producer := os.environ.get("TELEX_PRODUCER"):
        headers["x-telex-producer"] = producer
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=ATTEMPT_TIMEOUT_SECONDS) as response:
            return response.status, None, response.read().decode()
    except urllib.error.HTTPError as error:
        retry_after = error.headers.get("retry-after")
        return error.code, float(retry_after) if retry_after else None, error.read().decode()
    except OSError as error:
        return 0, None, str(error)


def send(url: str, secret: str, webhook_id: str, body: bytes) -> int:
    for number in range(ATTEMPTS_MAX):
        status, retry_after, answer = attempt(url, secret, webhook_id, body)
        print(status, answer.strip(), file=sys.stderr)
        if status == 202:
            return 0
        if 400 <= status < 500 and status not in (408, 429):
            return 1
        # 408, 429, 5xx, or no answer: the same again. If the first one was kept, the second has no effect.
        backoff = random.uniform(0.5, 1.0) * 2**number
        time.sleep(min(WAIT_SECONDS_MAX, retry_after if retry_after is not None else backoff))
    return 2


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 1
    with open(sys.argv[1], "rb") as file:
        body = file.read()
    webhook_id = os.environ.get("TELEX_WEBHOOK_ID", f"msg_{uuid.uuid4().hex}")
    url = os.environ["TELEX_URL"].rstrip("/") + "/v1/messages"
    return send(url, os.environ["TELEX_SECRET"], webhook_id, body)


if __name__ == "__main__":
    sys.exit(main())
