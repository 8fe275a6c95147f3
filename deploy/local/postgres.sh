#!/usr/bin/env bash
# A PostgreSQL of its own for tests, loopback only, with logical replication on:
# `postgres.sh start --dir DIR --port N`, `stop --dir DIR`. Needs PostgreSQL 15 or
# newer (Debian, Ubuntu: apt-get install postgresql). As root it runs as user
# postgres, who then owns DIR/data.
set -euo pipefail

die() { printf 'postgres: error: %s\n' "$*" >&2; exit 1; }

verb=${1:-} dir='' port=25432
[ $# -eq 0 ] || shift
while [ $# -ge 2 ]; do
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	*) die "unknown option '$1'" ;;
	esac
	shift 2
done
[ -n "$dir" ] || die "usage: deploy/local/postgres.sh start|stop --dir DIR [--port N]"
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
[[ $port =~ ^[0-9]{1,5}$ ]] || die "--port takes a number, got '$port'"

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v pg_ctl 2>/dev/null)" 2>/dev/null) || true
[ -x "$bin/initdb" ] || die "initdb is missing. Debian, Ubuntu: apt-get install postgresql"

as_owner() { # the server refuses to run as root
	if [ "$(id -u)" -eq 0 ]; then (cd / && setpriv --reuid postgres --regid postgres --init-groups "$@"); else "$@"; fi
}

case $verb in
start)
	! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "port $port is taken; give another with --port"
	mkdir -p "$dir"
	if [ ! -s "$dir/data/PG_VERSION" ]; then
		mkdir -p "$dir/data"
		[ "$(id -u)" -ne 0 ] || chown postgres: "$dir/data"
		as_owner test -w "$dir/data" || die "user postgres cannot reach $dir/data: its parents must let others pass"
		as_owner "$bin/initdb" -D "$dir/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 >"$dir/initdb.log" 2>&1 || { tail -n 5 "$dir/initdb.log" >&2; die "initdb failed"; }
		printf "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nwal_level = logical\n" >>"$dir/data/postgresql.conf"
	fi
	as_owner "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -o "-p $port" -w start >/dev/null || { tail -n 5 "$dir/data/server.log" >&2; die "the server did not start"; }
	printf '127.0.0.1:%s\n' "$port"
	;;
stop) as_owner "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null ;;
*) die "unknown verb '$verb': start or stop" ;;
esac
