#!/usr/bin/env bash
# Kafka Connect with Debezium's PostgreSQL connector, one process, loopback only,
# without containers. `connect.sh help` says how. Progress goes to stderr; stdout
# carries only the REST address.
set -euo pipefail

readonly connect=4.3.1 debezium=3.6.0.Final
readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly cache=${SYNCLINE_CONNECT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/syncline/connect-$connect}

usage() {
	cat <<EOT
usage: deploy/local/connect.sh VERB --dir DIR [options]

  start --worker FILE   start a worker with these settings, wait until its REST API answers, print its address;
                        listeners and the log are this script's; with --standalone also the connectors
  stop, kill            SIGTERM (SIGKILL after 30 s), SIGKILL at once
  fetch                 only fetch the jars (86 files, once), print their folder

  --standalone FILES    connectors' settings, a comma between files; without it the worker is a distributed one
  --port N              REST port [28083]
  --wait SECONDS        how long start waits [120]

Kafka Connect $connect, Debezium $debezium. Jars: $cache (SYNCLINE_CONNECT_CACHE moves it)
EOT
}

say() { printf 'connect: %s\n' "$*" >&2; }
die() { printf 'connect: error: %s\n' "$*" >&2; exit 1; }

# fetch fills the cache with exactly the jars that connect/jars.sha256 names.
fetch() {
	[ -e "$cache/lib/complete" ] && return
	command -v mvn >/dev/null 2>&1 || die "mvn is missing; it fetches the jars, once. Debian, Ubuntu: apt-get install maven"
	mkdir -p "$cache"
	local new
	new=$(mktemp -d "$cache/fetch.XXXXXX")
	say "fetching Kafka Connect $connect and Debezium $debezium (86 jars) into $cache"
	mvn -q -B -C -f "$here/connect/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new/lib" >"$new/mvn.log" 2>&1 || {
		tail -n 15 "$new/mvn.log" >&2
		rm -rf "$new"
		die "Maven could not fetch the jars (its last lines are above)"
	}
	(cd "$new/lib" && sha256sum --quiet --strict -c -) <"$here/connect/jars.sha256" >&2 &&
		[ "$(find "$new/lib" -name '*.jar' | wc -l)" -eq "$(wc -l <"$here/connect/jars.sha256")" ] || {
		rm -rf "$new"
		die "what Maven brought is not what $here/connect/jars.sha256 names; nothing was kept"
	}
	touch "$new/lib/complete"
	mv "$new/lib" "$cache/lib" 2>/dev/null || true # another one was quicker
	rm -rf "$new" "$cache/lib/lib"
}

worker_pid() {
	local pid
	pid=$(cat "$dir/connect.pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
	# A pid file outlives a crash: the command line has to name our settings.
	case "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" in *"$dir/running.properties"*) printf '%s' "$pid" ;; *) return 1 ;; esac
}

start() {
	local pid end main=org.apache.kafka.connect.cli.ConnectDistributed files=()
	command -v java >/dev/null 2>&1 && command -v javac >/dev/null 2>&1 || die "java and javac are missing. Debian, Ubuntu: apt-get install openjdk-17-jdk-headless"
	[ -r "$worker" ] || die "start needs --worker FILE"
	! pid=$(worker_pid) || die "runs already (pid $pid)"
	# A worker that was killed may hold it a moment longer than its name.
	end=$((SECONDS + 10))
	while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		[ $SECONDS -lt $end ] || die "port $port is taken; give another with --port"
		sleep 0.2
	done
	fetch
	mkdir -p "$dir/classes"
	javac -d "$dir/classes" -cp "$cache/lib/*" "$here"/connect/io/confluent/connect/avro/*.java
	{ cat "$worker"; printf '\nlisteners=http://127.0.0.1:%s\nrest.advertised.host.name=127.0.0.1\nplugin.discovery=only_scan\n' "$port"; } >"$dir/running.properties"
	if [ -n "$standalone" ]; then
		main=org.apache.kafka.connect.cli.ConnectStandalone
		IFS=, read -ra files <<<"$standalone"
	fi
	setsid nohup java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" -Dsyncline.log="$dir/connect.log" \
		-cp "$dir/classes:$cache/lib/*" $main "$dir/running.properties" ${files[@]+"${files[@]}"} >"$dir/connect.out" 2>&1 </dev/null &
	pid=$!
	disown $pid
	printf '%s\n' $pid >"$dir/connect.pid"
	end=$((SECONDS + wait_seconds))
	until curl -s -f -m 5 "http://127.0.0.1:$port/connectors" >/dev/null; do
		if ! kill -0 $pid 2>/dev/null || [ $SECONDS -ge $end ]; then
			{ tail -n 5 "$dir/connect.out"; grep -E ' ERROR |Exception' "$dir/connect.log" | tail -n 15; } >&2 2>/dev/null || true
			kill -9 $pid 2>/dev/null || true
			die "the worker does not answer at 127.0.0.1:$port (above; the whole log: $dir/connect.log)"
		fi
		sleep 0.3
	done
	say "Connect answers at 127.0.0.1:$port (pid $pid, log $dir/connect.log)"
	printf 'http://127.0.0.1:%s\n' "$port"
}

halt() { # signal
	local pid try
	pid=$(worker_pid) || { say "does not run (dir $dir)"; return; }
	kill "-$1" "$pid" 2>/dev/null || true
	for try in {1..300}; do
		worker_pid >/dev/null || { say "ended (pid $pid, SIG$1)"; rm -f "$dir/connect.pid"; return; }
		sleep 0.1
	done
	say "pid $pid ignored SIG$1 for 30 s: SIGKILL"
	kill -9 "$pid" 2>/dev/null || true
	rm -f "$dir/connect.pid"
}

verb=${1:-help}
[ $# -eq 0 ] || shift
dir='' worker='' standalone='' port=28083 wait_seconds=120
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || die "$1 takes a value"
	case $1 in
	--dir) dir=$2 ;;
	--worker) worker=$2 ;;
	--standalone) standalone=$2 ;;
	--port) [[ $2 =~ ^[0-9]{1,5}$ ]] || die "--port takes a number, got '$2'"; port=$2 ;;
	--wait) [[ $2 =~ ^[0-9]{1,5}$ ]] || die "--wait takes a number, got '$2'"; wait_seconds=$2 ;;
	*) usage >&2; die "unknown option '$1'" ;;
	esac
	shift 2
done
case $verb in
help | -h | --help) usage; exit ;;
fetch) fetch; printf '%s\n' "$cache/lib"; exit ;;
esac
[ -n "$dir" ] || die "give a folder with --dir"
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
mkdir -p "$dir"
case $verb in
start) start ;;
stop) halt TERM ;;
kill) halt KILL ;;
*) usage >&2; die "unknown verb '$verb'" ;;
esac
