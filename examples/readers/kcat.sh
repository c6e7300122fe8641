#!/usr/bin/env bash
# kcat one-liners, each a question. `examples/readers/kcat.sh` lists them, `examples/readers/kcat.sh NAME` asks one.
# None joins a group. Texts and phones are personal data: mind where the output goes.
# Over TLS: TELEX_CA_FILE, and with a password TELEX_USER and TELEX_PASSWORD_FILE.
set -euo pipefail
brokers=${TELEX_BROKERS:-127.0.0.1:9092} topic=${TELEX_TOPIC:-telex.messages}
over=()
[[ -z ${TELEX_CA_FILE:-} ]] || over=(-X security.protocol=ssl -X "ssl.ca.location=$TELEX_CA_FILE")
if [[ -n ${TELEX_USER:-} ]]; then
    # Older ones repeat the nonce, which Kafka 4 takes for a wrong password.
    library=$(kcat -V | sed -n 's/.*librdkafka \([0-9.]*\).*/\1/p')
    if [[ $(printf '2.6.1\n%s\n' "$library" | sort --version-sort | head -n 1) != 2.6.1 ]]; then
        echo "kcat.sh: to log in, kcat needs librdkafka 2.6.1 or later; here it has $library" >&2
        exit 1
    fi
    # In a file of settings, not in an argument, which `ps` shows.
    settings=$(mktemp)
    trap 'rm -f "$settings"' EXIT
    printf 'security.protocol=sasl_ssl\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=%s\nsasl.password=%s\n' \
        "$TELEX_USER" "$(< "${TELEX_PASSWORD_FILE:?}")" > "$settings"
    # What comes later stands.
    over+=(-F "$settings")
fi

everything() { kcat "${over[@]}" -C -q -b "$brokers" -t "$topic" -o beginning -e -f '%T %p/%o %k %h\n%s\n'; } # time, place, key, headers, value
keys()       { kcat "${over[@]}" -C -q -b "$brokers" -t "$topic" -o beginning -e -f '%k\n'; }               # whose records there are
newest()     { kcat "${over[@]}" -C -q -b "$brokers" -t "$topic" -o -1 -e -f '%p/%o %s\n'; }                # the last record of each partition
partition()  { kcat "${over[@]}" -C -q -b "$brokers" -t "$topic" -p "${1:-0}" -o beginning -e -f '%o %k\n'; } # one partition in its order
types()      { kcat "${over[@]}" -C -q -b "$brokers" -t "$topic" -o beginning -e -f '%h\n' | grep -o 'ce_type=[^,]*' | sort | uniq -c; } # how many of each
since()      { kcat "${over[@]}" -C -q -b "$brokers" -t "$topic" -o "s@${1:?milliseconds since 1970}" -e -f '%T %k\n'; } # appended since

case ${1:-list} in
    list) grep -E '^[a-z]+\(\)' "$0" ;;
    everything | keys | newest | partition | types | since) "$@" ;;
    *) echo "kcat.sh: no question is called $1" >&2; exit 2 ;;
esac
