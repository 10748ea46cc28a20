#!/bin/sh
# Makes the databases of the mall, once, and runs PostgreSQL. Every password is a file in /etc/postgres/passwords; a new one
# holds from the next start.
set -eu

PATH="$PATH:$(echo /usr/lib/postgresql/*/bin)"
data=/var/lib/postgresql/mall
names="user product order pay"

# A server without a network, for one user: statements come by standard input, so that no password is in a process list.
single() {
  postgres --single -D "$data$1" -c exit_on_error=on -c log_min_messages=warning postgres >/dev/null
}

# The statement that gives each role the password of its file.
passwords() {
  for name in $names; do
    password=$(cat "/etc/postgres/passwords/$name")
    case "$password" in
      '' | *[!A-Za-z0-9]*) echo "the password of $name must be letters and digits alone" >&2; return 1 ;;
    esac
    printf "ALTER ROLE \"%s\" PASSWORD '%s';\n" "$name" "$password"
  done
}

# Complete or not there at all: it gets its name when all of it is done.
if [ ! -e "$data" ]; then
  rm -rf "$data.new"
  initdb -D "$data.new" --username=postgres --auth-local=trust --encoding=UTF8 --locale=C.UTF-8
  # A role sees the database of its own name. The superuser is let in from inside the pod alone.
  cat >"$data.new/pg_hba.conf" <<HBA
local all      postgres           trust
host  sameuser all all            scram-sha-256
HBA
  for name in $names; do
    printf 'CREATE ROLE "%s" LOGIN;\nCREATE DATABASE "%s" OWNER "%s";\nREVOKE ALL ON DATABASE "%s" FROM PUBLIC;\n' \
      "$name" "$name" "$name" "$name"
  done | single .new
  mv "$data.new" "$data"
fi

# Of a server that was killed. The volume is this pod's alone, so none can be running.
rm -f "$data/postmaster.pid"
# Not straight into `single`: a pipe would not tell that it failed.
statements=$(passwords)
printf '%s\n' "$statements" | single ""
unset statements

postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@" &
server=$!
# To stop at once, not when the last client has gone: what is being written is safe either way.
trap 'kill -INT "$server"' TERM INT
status=0
wait "$server" || status=$?
# A signal ends the waiting, and not yet the server.
if kill -0 "$server" 2>/dev/null; then
  status=0
  wait "$server" || status=$?
fi
exit "$status"
