#!/usr/bin/env bash
# What a person with a database of her own does, with the settings of README.md:
# PostgreSQL, Kafka Connect and Debezium feed `syncline up`, and then pipelines on
# Apache Kafka; a program in Java reads. Red if anything is missing or skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/syncline-test-live.XXXXXX")
stop() {
	"$here/kafka.sh" stop --dir "$dir/kafka" --purge || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

SYNCLINE_TEST_LIVE_JARS=$("$here/connect.sh" fetch)
export SYNCLINE_TEST_LIVE_JARS
for feeds in up cluster; do
	SYNCLINE_TEST_LIVE=up
	[ $feeds = up ] || SYNCLINE_TEST_LIVE=$("$here/kafka.sh" start --dir "$dir/kafka" --port 0 --with-parent $$)
	export SYNCLINE_TEST_LIVE
	echo "test-live: $feeds"
	go test -count=1 -timeout 20m -v -run '^TestLive$' ./benchmarks/live >"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }
	grep -E '^(--- PASS: TestLive |ok)' "$dir/out" || { cat "$dir/out"; echo "test-live: TestLive did not run" >&2; exit 1; }
done
