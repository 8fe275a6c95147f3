#!/usr/bin/env bash
# Runs every test package that uses kafkatest against real Apache Kafka: one
# broker for the tests that can share it, further ones where a test starts its
# own. Red if Kafka does not start, if a test fails, and if a test is skipped:
# here there is nothing left to wait for. Options go to go test.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/syncline-test-kafka.XXXXXX")
stop() {
	"$here/kafka.sh" stop --dir "$dir/kafka" --purge || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What uses kafkatest is found, not listed: a new suite cannot be forgotten.
go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... >"$dir/imports"
packages=$(awk '$1 == "syncline/deploy/local/kafkatest" || / syncline\/deploy\/local\/kafkatest( |$)/ { print $1 }' "$dir/imports")
[ -n "$packages" ] || { echo "test-kafka: no package's tests import kafkatest" >&2; exit 1; }
printf 'test-kafka: %s\n' $packages

SYNCLINE_KAFKA_BROKERS=$("$here/kafka.sh" start --dir "$dir/kafka" --port 0 --with-parent $$)
export SYNCLINE_KAFKA=real SYNCLINE_KAFKA_BROKERS

# What never meets Kafka, and what takes long: that is told with SYNCLINE_LONG=1,
# and where -run names it.
embedded='TestUp|TestQueryOnlyReads$'
long='TestChaos$|TestSoak$|TestCommandContract$|TestBadInput$|TestLettersAreWorked$|TestRestartAfterIdle$|TestOutages$|TestDoctor$|TestInstructionsAcrossCrashes$|TestTwoProcesses$|TestVerifyAwaits|TestStartWith|TestStartAt|TestTakenSlot$|TestTwoPrefixes|TestRebuild|TestManyProcesses'
skip="^($embedded)"
if [ -z "${SYNCLINE_LONG:-}" ] && [[ " $* " != *" -run"* ]]; then
	skip="^($embedded|$long)"
	echo "test-kafka: only with SYNCLINE_LONG=1: $long"
fi

# One package at a time: two cores bear one broker and its test, and the shared
# broker's figures are not to depend on the neighbour.
result=0
go test -count=1 -p 1 -parallel 2 -timeout "${SYNCLINE_TEST_TIMEOUT:-20m}" -v -skip "$skip" "$@" $packages >"$dir/out" 2>&1 &
tests=$!
# Verbose output is for finding skips; what is shown of it is results.
tail -n +1 -f --pid=$tests "$dir/out" 2>/dev/null | grep --line-buffered -E '^(---|ok|FAIL|PASS|panic:)' || true
wait $tests || result=$?
if [ $result -ne 0 ]; then
	echo "test-kafka: the whole output, for something failed:"
	cat "$dir/out"
elif grep -B1 -E '^ *--- SKIP' "$dir/out"; then
	echo "test-kafka: the tests above were skipped, though real Kafka runs: a Kafka suite may not skip here" >&2
	result=1
fi
grep -E '^(ok|FAIL)' "$dir/out" || true
exit $result
