#!/usr/bin/env bash
# Sends one message to Telex with curl: signed, and sent again with the same id until it is known to be kept.
#
#   TELEX_URL=http://127.0.0.1:8080 TELEX_SECRET=whsec_… examples/send.sh message.json
#
# Exit status: 0 kept (202), 1 refused (another 4xx: sending it again changes nothing), 2 gave up.
set -euo pipefail

message=${1:?usage: send.sh message.json}
id=${TELEX_WEBHOOK_ID:-msg_$(openssl rand -hex 12)} # stays the same however often it is sent
timestamp=$(date +%s)

# The signature is over the bytes of the file as they are: never over JSON that was written anew.
key=$(printf %s "${TELEX_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
signature=$({ printf '%s.%s.' "$id" "$timestamp"; cat "$message"; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)

# curl itself waits as long as Retry-After says. 240 s: the timestamp holds for five minutes.
answer=$(curl --silent --show-error --write-out '\n%{http_code}' \
    --max-time 15 --retry 10 --retry-connrefused --retry-all-errors --retry-max-time 240 \
    --header 'content-type: application/json' \
    --header "webhook-id: $id" --header "webhook-timestamp: $timestamp" --header "webhook-signature: v1,$signature" \
    ${TELEX_PRODUCER:+--header "x-telex-producer: $TELEX_PRODUCER"} \
    --data-binary "@$message" "${TELEX_URL%/}/v1/messages") || answer+=$'\n000'
# Not opened by its name: standard error may be a file with what others have written.
printf '%s\n' "${answer%$'\n'*}" >&2

case ${answer##*$'\n'} in
202) exit 0 ;;
408 | 429) exit 2 ;;
4??) exit 1 ;;
*) exit 2 ;;
esac
