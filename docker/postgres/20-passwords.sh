#!/usr/bin/env bash
# After roles.sql, when the volume is made: the roles get the passwords that docker/make-secrets has written.
set -euo pipefail
for role in migrator processor reader; do
  psql --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname=telex \
    --set=password="$(< "/run/secrets/$role-password")" <<< "alter role telex_$role password :'password';"
done
