#!/bin/sh
# Start a Citus coordinator with two workers, and a plain Postgres of the same version beside them, on
# this machine: for the trial of docs/scaling.md. Run it as root:
#
#     deploy/citus/cluster.sh start FOLDER     # an absolute path, for all that it makes
#     deploy/citus/cluster.sh database NAME    # on all of them, the workers added to the coordinator
#     deploy/citus/cluster.sh stop FOLDER
#
# Citus 13.2.2 of the source, with Debian's postgresql-15 and postgresql-server-dev-15:
#
#     sed -i 's/^have_createdb_privilege(void)/unused_&/' src/include/pg_version_compat.h  # 15.20 has it
#     PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config ./configure && make && make install
set -eu
bin=/usr/lib/postgresql/15/bin
plain=55431 coordinator=55432 workers="55433 55434"

as_postgres() { (cd / && HOME=/ setpriv --reuid postgres --regid postgres --init-groups "$@"); }
sql() { as_postgres "$bin/psql" -Xqo /dev/null -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -d "$2" -c "$3"; }

case $1 in
start)
    install -d -o postgres "$2"
    for port in $plain $coordinator $workers; do
        as_postgres "$bin/initdb" -D "$2/$port" --auth=trust --encoding=UTF8 --no-locale > /dev/null
        {
            echo "port = $port"
            echo "listen_addresses = '127.0.0.1'"
            echo "unix_socket_directories = ''"
            echo "max_prepared_transactions = 200  # two-phase commit"
            echo "max_worker_processes = 32"
            if [ "$port" != $plain ]; then
                echo "shared_preload_libraries = 'citus'"
                echo "citus.enable_unsafe_triggers = on  # on shards, row by row"
            fi
        } >> "$2/$port/postgresql.conf"
        as_postgres "$bin/pg_ctl" -w -D "$2/$port" -l "$2/$port/server.log" start > /dev/null
    done
    ;;
database)
    for port in $plain $coordinator $workers; do
        sql "$port" postgres "DROP DATABASE IF EXISTS $2 WITH (FORCE)"
        sql "$port" postgres "CREATE DATABASE $2 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
        [ "$port" = $plain ] || sql "$port" "$2" "CREATE EXTENSION citus"
    done
    sql $coordinator "$2" "SELECT citus_set_coordinator_host('127.0.0.1', $coordinator)"
    for port in $workers; do
        sql $coordinator "$2" "SELECT citus_add_node('127.0.0.1', $port)"
    done
    ;;
stop)
    for port in $workers $coordinator $plain; do
        as_postgres "$bin/pg_ctl" -w -m fast -D "$2/$port" stop > /dev/null
    done
    ;;
esac
