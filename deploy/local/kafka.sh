#!/usr/bin/env bash
# Real Apache Kafka (KRaft, one broker, loopback only) without containers.
# `kafka.sh help` says how. Progress goes to stderr; stdout carries only what a
# program wants to read: the address (start, restart, address) or the status.
set -euo pipefail

readonly version=4.4.0
readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly cache=${SYNCLINE_KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/syncline/kafka-$version}
readonly host=127.0.0.1
# Any 22 base64 characters will do. It is fixed, so that a broker that is
# started on somebody else's directory says so instead of mixing two clusters.
readonly cluster_id=c3luY2xpbmUtbG9jYWxfMQ

usage() {
	cat <<EOT
usage: deploy/local/kafka.sh VERB [options]

  start      format if new, start, wait until it answers, print the address
  stop       stop in order (SIGTERM; SIGKILL after 30 s, said aloud)
  kill       SIGKILL at once: the crash that tests want
  restart    stop if it runs, then start on the same data and port
  status     address, pid, versions; exit 0 if it answers, 3 if it does not run, 1 if it runs and is dumb
  address    print host:port of a broker that runs
  fetch      only fetch the jars (45 files, 43 MB, once)

  --dir DIR          data, pid file, log [${TMPDIR:-/tmp}/syncline-kafka-$(id -u)]
  --port N           broker port, the controller takes N+1; 0 = any free pair
                     [the directory's own; else 19092; else a free pair]
  --heap SIZE        Java heap [512m]
  --wait SECONDS     how long start waits for an answer [60]
  --with-parent PID  when that process ends, kill the broker and remove DIR
  --purge            stop, kill: remove DIR as well

Jars: $cache (SYNCLINE_KAFKA_CACHE moves it)
EOT
}

say() { printf 'kafka: %s\n' "$*" >&2; }
die() { printf 'kafka: error: %s\n' "$*" >&2; exit 1; }

number() { # option value
	[[ $2 =~ ^[0-9]{1,7}$ ]] || die "$1 takes a whole number, got '$2'"
	printf '%d' "$((10#$2))"
}

# ---- what the machine must have --------------------------------------------

need_java() {
	command -v java >/dev/null 2>&1 ||
		die "java is missing; Kafka $version needs Java 17 or newer. Debian, Ubuntu: apt-get install openjdk-17-jre-headless. macOS: brew install openjdk@17"
	local line major
	line=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
	major=${line%%$'\n'*}
	[[ $major =~ ^[0-9]+$ ]] || die "cannot read the version of $(command -v java); 'java -version' must work and say 17 or newer"
	[ "$major" -ge 17 ] || die "$(command -v java) is Java $major; Kafka $version needs 17 or newer. Debian, Ubuntu: apt-get install openjdk-17-jre-headless"
}

sha256_check() { # reads a sha256 list on stdin, checks files in the current directory
	if command -v sha256sum >/dev/null 2>&1; then sha256sum --quiet --strict -c -; else shasum -a 256 -c - >/dev/null; fi
}

# fetch fills the cache with exactly the jars that kafka/jars.sha256 names. Two
# at once do no harm: each fetches into a directory of its own, the first
# rename wins.
fetch() {
	[ -e "$cache/lib/complete" ] && return
	need_java
	command -v mvn >/dev/null 2>&1 ||
		die "mvn is missing; it fetches Kafka's jars from Maven Central, once. Debian, Ubuntu: apt-get install maven. macOS: brew install maven. Or copy a filled $cache from another machine"
	mkdir -p "$cache"
	local new start=$SECONDS
	new=$(mktemp -d "$cache/fetch.XXXXXX")
	say "fetching Apache Kafka $version (45 jars, 43 MB) into $cache"
	mvn -q -B -C -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new/lib" >"$new/mvn.log" 2>&1 || {
		tail -n 15 "$new/mvn.log" >&2
		rm -rf "$new"
		die "Maven could not fetch the jars (its last lines are above). Is Maven Central, or the mirror in ~/.m2/settings.xml, in reach?"
	}
	(cd "$new/lib" && sha256_check) <"$here/kafka/jars.sha256" >&2 || {
		rm -rf "$new"
		die "a fetched jar is not the one that $here/kafka/jars.sha256 names; nothing was kept"
	}
	local got want
	got=$(find "$new/lib" -name '*.jar' | wc -l) want=$(wc -l <"$here/kafka/jars.sha256")
	[ "$((got))" -eq "$((want))" ] || { rm -rf "$new"; die "Maven brought $((got)) jars, $((want)) are pinned; did pom.xml change without jars.sha256?"; }
	touch "$new/lib/complete"
	mv "$new/lib" "$cache/lib"
	rm -rf "$new" "$cache/lib/lib" # the second is where mv puts the loser of a race
	say "fetched in $((SECONDS - start)) s"
}

# ---- the process -----------------------------------------------------------

command_line() { # of a pid; empty if there is none
	if [ -r "/proc/$1/cmdline" ]; then tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || true
	elif [ ! -d /proc/self ]; then ps -o command= -p "$1" 2>/dev/null || true; fi
}

# broker_pid prints the pid if that process is our broker. A pid file outlives
# a crash and its number may be somebody else's by now, so the command line has
# to name our configuration.
broker_pid() {
	local pid
	pid=$(cat "$dir/kafka.pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
	case "$(command_line "$pid")" in *"kafka.Kafka $dir/server.properties"*) printf '%s' "$pid" ;; *) return 1 ;; esac
}

# is_corpse: ended, but not collected by its parent, which is not our business.
# A Java process whose first thread has ended is a zombie too, while the others
# still hold its ports: only the last thread's end counts.
is_corpse() { # pid
	local threads=("/proc/$1/task/"*)
	[ ${#threads[@]} -eq 1 ] && [ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)" = Z ]
}

gone_within() { # pid seconds
	local end=$((SECONDS + $2))
	while kill -0 "$1" 2>/dev/null; do
		is_corpse "$1" && return 0
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

port_free() { ! (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null; }

free_pair() {
	local try p
	for try in {1..200}; do
		# Below 32768, where Linux takes the ports of outgoing connections: such
		# a one would not show in port_free and yet make the bind fail.
		p=$((20000 + (RANDOM * 32768 + RANDOM) % 6000 * 2))
		port_free $p && port_free $((p + 1)) && { printf '%s' $p; return; }
	done
	die "found no two free neighbouring ports in 200 tries between 20000 and 32000; give one with --port"
}

# api_versions asks the broker itself: ApiVersions version 3 (KIP-511), whose
# answer also carries the finalized features (KIP-584). Prints the answer in hex.
api_versions() { # port
	local out=$dir/probe.$$ pid try
	(
		exec 3<>"/dev/tcp/$host/$1" || exit 1
		# length 23; key 18, version 3, correlation 1, client id "", no tags; software "syncline" "1", no tags
		printf '\0\0\0\x17\0\x12\0\x03\0\0\0\x01\0\0\0\x09syncline\x021\0' >&3
		length=$(dd bs=1 count=4 <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n')
		[[ $length =~ ^0000[0-9a-f]{4}$ ]] || exit 1
		dd bs=1 count=$((16#$length)) <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n'
	) >"$out" 2>/dev/null &
	pid=$!
	for try in {1..60}; do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
	kill -9 $pid 2>/dev/null || true
	wait $pid 2>/dev/null || true
	cat "$out"; rm -f "$out"
}

# transaction_version reads the finalized level of transaction.version out of
# such an answer: the name's last mention is the finalized one, the two bytes
# after it the level. Empty if the broker did not answer.
transaction_version() { # port
	local answer name rest
	answer=$(api_versions "$1")
	[[ $answer == 000000010000* ]] || return 0
	name=$(printf 'transaction.version' | od -An -v -tx1 | tr -d ' \n')
	rest=${answer##*"$name"}
	if [ "$rest" = "$answer" ]; then printf 0; else printf '%d' "$((16#${rest:0:4}))"; fi
}

write_properties() { # port
	cat >"$dir/server.properties" <<EOT
# Written by kafka.sh at every start; changes here do not stay.
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=$host:$(($1 + 1))
listeners=PLAINTEXT://$host:$1,CONTROLLER://$host:$(($1 + 1))
advertised.listeners=PLAINTEXT://$host:$1
controller.listener.names=CONTROLLER
log.dirs=$dir/data

# One broker: nothing can be replicated.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Their 50 partitions each take seconds to make at the first use.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4

# No other member is to be waited for when the first one joins.
group.initial.rebalance.delay.ms=0
# The first partition of a transaction often meets the end of the one before
# and is sent back to wait this long. At the default of 20 ms a commit takes
# five to eight times as long.
add.partitions.to.txn.retry.backoff.ms=1
# A topic that nobody created is a mistake here, not a wish.
auto.create.topics.enable=false
EOT
}

explain_failure() {
	{ tail -n 20 "$dir/kafka.out"; grep -E ' (ERROR|FATAL) |Exception' "$dir/kafka.log" | tail -n 15; } >&2 2>/dev/null || true
	say "the whole log: $dir/kafka.log"
}

launch() { # port; starts Java and waits, 1 if it ended before it answered
	local pid end level
	write_properties "$1"
	if [ ! -e "$dir/data/meta.properties" ]; then
		java -cp "$cache/lib/*" -Xmx256m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" -Dsyncline.log="$dir/kafka.log" \
			kafka.tools.StorageTool format -t $cluster_id -c "$dir/server.properties" --standalone >"$dir/format.out" 2>&1 ||
			{ cat "$dir/format.out" >&2; die "formatting $dir/data failed (above)"; }
	fi
	# A session of its own, so that Ctrl-C at the caller is not the broker's end.
	local own_session=()
	command -v setsid >/dev/null 2>&1 && own_session=(setsid)
	${own_session[@]+"${own_session[@]}"} nohup java -Xms64m "-Xmx$heap" -cp "$cache/lib/*" \
		-Dlog4j2.configurationFile="$here/kafka/log4j2.properties" -Dsyncline.log="$dir/kafka.log" -Djava.awt.headless=true \
		kafka.Kafka "$dir/server.properties" >"$dir/kafka.out" 2>&1 </dev/null 3>&- &
	pid=$!
	disown $pid
	printf '%s\n' $pid >"$dir/kafka.pid"
	end=$((SECONDS + wait_seconds))
	while :; do
		kill -0 $pid 2>/dev/null || return 1
		level=$(transaction_version "$1")
		[ -n "$level" ] && break
		[ $SECONDS -lt $end ] || { explain_failure; kill -9 $pid; die "no answer on $host:$1 after $wait_seconds s; the process was killed. A slow machine: --wait 180"; }
		sleep 0.1
	done
	[ "$level" -eq 2 ] || { kill -9 $pid; die "the broker's transaction.version is $level, 2 is needed (KIP-890: the epoch moves with every transaction); an old data directory? Remove $dir and start again"; }
}

# watch_parent ends the broker with the process that wanted it, because a test
# that times out or is killed runs no clean-up.
watch_parent() {
	[ -n "$parent" ] || return 0
	kill -0 "$(cat "$dir/watch.pid" 2>/dev/null || echo x)" 2>/dev/null && return 0
	(
		trap '' INT HUP
		while kill -0 "$parent" 2>/dev/null && [ -d "$dir" ]; do sleep 0.5; done
		[ -d "$dir" ] || exit 0
		if pid=$(broker_pid); then kill -9 "$pid" 2>/dev/null || true; gone_within "$pid" 10 || true; fi
		rm -rf "$dir"
	) </dev/null >/dev/null 2>&1 &
	printf '%s\n' $! >"$dir/watch.pid"
	disown $!
}

# ---- verbs -----------------------------------------------------------------

remembered_port() { sed -n 's/^advertised\.listeners=.*:\([0-9]*\)$/\1/p' "$dir/server.properties" 2>/dev/null || true; }

start() {
	local pid old began=$SECONDS chosen=$port attempt
	mkdir -p -m 700 "$dir"
	[ -O "$dir" ] || die "$dir belongs to somebody else; give a directory of your own with --dir"
	if pid=$(broker_pid); then
		say "runs already (pid $pid)"
		printf '%s:%s\n' $host "$(remembered_port)"
		return
	fi
	need_java
	fetch
	old=$(remembered_port)
	if [ -e "$dir/data/meta.properties" ] && [ -n "$old" ]; then
		# Advertised addresses and the quorum's voter are in the data.
		[ -z "$port" ] || [ "$port" -eq 0 ] || [ "$port" -eq "$old" ] || die "$dir was formatted for port $old; leave --port away, or give another --dir"
		chosen=$old
		port_free "$old" || die "port $old of $dir is taken by another program; stop that one, or start with another --dir"
	elif [ -z "$port" ]; then
		chosen=19092
		{ port_free 19092 && port_free 19093; } || chosen=$(free_pair)
	elif [ "$port" -ne 0 ]; then
		[ "$port" -le 65534 ] || die "--port $port: the highest is 65534, for the controller takes the next one"
		{ port_free "$port" && port_free $((port + 1)); } || die "port $port or $((port + 1)) is taken; --port 0 takes any free pair"
	fi
	for attempt in 1 2 3; do
		[ "$chosen" -ne 0 ] || chosen=$(free_pair)
		launch "$chosen" && break
		# Somebody may have taken a free port between our look and the bind.
		if [ "$port" = 0 ] && [ -z "$old" ] && [ $attempt -lt 3 ] && grep -q 'Address already in use' "$dir/kafka.log" "$dir/kafka.out" 2>/dev/null; then
			say "port $chosen was taken meanwhile, trying another"
			rm -rf "$dir/data" "$dir/kafka.log"
			chosen=0
			continue
		fi
		explain_failure
		die "the broker ended before it answered (above)"
	done
	watch_parent
	say "Apache Kafka $version answers on $host:$chosen after $((SECONDS - began)) s (pid $(cat "$dir/kafka.pid"), transaction.version 2, dir $dir)"
	printf '%s:%s\n' $host "$chosen"
}

halt() { # signal
	local pid
	if pid=$(broker_pid); then
		kill "-$1" "$pid" 2>/dev/null || true
		if ! gone_within "$pid" 30; then
			[ "$1" = TERM ] || die "pid $pid does not end after SIGKILL"
			say "pid $pid ignored SIGTERM for 30 s: SIGKILL"
			kill -KILL "$pid" 2>/dev/null || true
			gone_within "$pid" 30 || die "pid $pid does not end after SIGKILL"
		fi
		say "ended (pid $pid, SIG$1)"
	else
		say "does not run (dir $dir)"
	fi
	rm -f "$dir/kafka.pid"
	if [ "$purge" = yes ]; then
		# Only what has the looks of ours: a wrong --dir must not cost anybody's files.
		if [ -d "$dir" ] && [ ! -e "$dir/server.properties" ]; then
			rmdir "$dir" 2>/dev/null || die "$dir holds files but no server.properties, so it is not ours and is not removed"
		fi
		rm -rf "$dir"
	fi
}

status() {
	local pid level p
	pid=$(broker_pid) || { echo "state=stopped dir=$dir"; exit 3; }
	p=$(remembered_port)
	level=$(transaction_version "$p")
	[ -n "$level" ] || { echo "state=silent pid=$pid address=$host:$p dir=$dir"; exit 1; }
	echo "state=running pid=$pid address=$host:$p kafka=$version transaction.version=$level dir=$dir"
}

verb=${1:-help}
[ $# -eq 0 ] || shift
dir=${TMPDIR:-/tmp}/syncline-kafka-$(id -u) port='' heap=512m wait_seconds=60 parent='' purge=no
while [ $# -gt 0 ]; do
	case $1 in
	--purge) purge=yes; shift; continue ;;
	--dir | --port | --heap | --wait | --with-parent) [ $# -ge 2 ] || die "$1 takes a value" ;;
	*) usage >&2; die "unknown option '$1'" ;;
	esac
	case $1 in
	--dir) [ -n "$2" ] || die "--dir takes a directory"; dir=$2 ;;
	--port) port=$(number --port "$2") ;;
	--heap) [[ $2 =~ ^[0-9]+[mg]$ ]] || die "--heap takes a size such as 512m or 1g, got '$2'"; heap=$2 ;;
	--wait) wait_seconds=$(number --wait "$2") ;;
	--with-parent) parent=$(number --with-parent "$2") ;;
	esac
	shift 2
done
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
case $dir in *[[:space:]]*) die "the directory '$dir' holds white space, which Kafka's scripts and this one do not bear; give another with --dir" ;; esac

case $verb in
start) start ;;
stop) halt TERM ;;
kill) halt KILL ;;
restart) keep=$purge; purge=no; halt TERM; purge=$keep; start ;;
status) status ;;
address) broker_pid >/dev/null || die "does not run (dir $dir); start it: deploy/local/kafka.sh start"; printf '%s:%s\n' $host "$(remembered_port)" ;;
fetch) need_java; fetch; echo "$cache/lib" ;;
help | -h | --help) usage ;;
*) usage >&2; die "unknown verb '$verb'" ;;
esac
