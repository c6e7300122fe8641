#!/usr/bin/env bash
# kcat one-liners, each a question. `examples/readers/kcat.sh` lists them, `examples/readers/kcat.sh NAME` asks one.
# None joins a group. Texts and phones are personal data: mind where the output goes.
set -euo pipefail
brokers=${TELEX_BROKERS:-127.0.0.1:9092} topic=${TELEX_TOPIC:-telex.messages}

everything() { kcat -C -q -b "$brokers" -t "$topic" -o beginning -e -f '%T %p/%o %k %h\n%s\n'; } # time, place, key, headers, value
keys()       { kcat -C -q -b "$brokers" -t "$topic" -o beginning -e -f '%k\n'; }               # whose records there are
newest()     { kcat -C -q -b "$brokers" -t "$topic" -o -1 -e -f '%p/%o %s\n'; }                # the last record of each partition
partition()  { kcat -C -q -b "$brokers" -t "$topic" -p "${1:-0}" -o beginning -e -f '%o %k\n'; } # one partition in its order
types()      { kcat -C -q -b "$brokers" -t "$topic" -o beginning -e -f '%h\n' | grep -o 'ce_type=[^,]*' | sort | uniq -c; } # how many of each
since()      { kcat -C -q -b "$brokers" -t "$topic" -o "s@${1:?milliseconds since 1970}" -e -f '%T %k\n'; } # appended since

case ${1:-list} in
    list) grep -E '^[a-z]+\(\)' "$0" ;;
    everything | keys | newest | partition | types | since) "$@" ;;
    *) echo "kcat.sh: no question is called $1" >&2; exit 2 ;;
esac
