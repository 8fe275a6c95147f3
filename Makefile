# Everything a developer runs. Needs Go and make; git and npm for demo and test;
# what more a target needs it says. `make` alone lists the targets.

GO            ?= go
GOLANGCI      := v2.15.0
BIN           := $(CURDIR)/.bin
LINT          := $(BIN)/golangci-lint-$(GOLANGCI)
# For each package: what hangs is to be named before the whole run is out of time.
TEST_TIMEOUT  ?= 16m
RACE_TIMEOUT  ?= 11m
KAFKA_TIMEOUT ?= 14m
PKG           ?= ./...
# What has a target of its own: chaos, soak.
TEST_SKIP     ?= ^(TestChaos|TestSoak)$$
# Where goroutines share memory; operators are one goroutine each, and the
# end-to-end suite works on processes, which the race detector does not see into.
RACE_PKG      ?= ./pipelines/run/... ./deploy/... ./sinks ./sinks/clickhouse/... ./sinks/httpcall/... ./schemas/registry/...
FUZZTIME      ?= 10s
BENCH         ?= .
CASES         ?= benchmarks/cases/testdata
ONLY          ?=
MOST          ?= 0
SEED          := $(or $(SEED),$(shell date +%s))
ROUNDS        ?=
FOR           ?=
DURATION      ?= 3m
# The command as it was one commit ago, for upgrades in mid-run and back; where
# there is none (a shallow clone) these are left out.
PREVIOUS      ?= $(addprefix $(CURDIR)/bin/previous-,$(shell git rev-parse --verify --quiet --short HEAD~1 2>/dev/null))

# One binary without a C compiler anywhere; only the race detector needs one.
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help demo build test race test-kafka test-cases test-live selftest chaos chaos-kafka soak test-all lint fmt fuzz-smoke bench generate verify clean

help: ## this list
	@printf 'usage: make TARGET [PKG=./...]\n\n'
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

demo: ## the recorded company through all hops into ClickHouse, verified; then live
	$(GO) run . demo

build: ## bin/syncline
	$(GO) build -trimpath -o bin/syncline .

test: ## all suites on the embedded platform, but for chaos and soak
	$(GO) test -shuffle=on -timeout $(TEST_TIMEOUT) -skip '$(TEST_SKIP)' $(PKG)

race: ## engine, sinks, registry and platform under the race detector; needs a C compiler
	@cc=$$($(GO) env CC); command -v "$${cc%% *}" >/dev/null 2>&1 || { \
		echo "make race: the race detector needs a C compiler and $$cc is not there. Debian, Ubuntu: apt-get install gcc libc6-dev. macOS: xcode-select --install. Or set CC." >&2; exit 1; }
	CGO_ENABLED=1 $(GO) test -race -short -shuffle=on -timeout $(RACE_TIMEOUT) $(RACE_PKG)

test-kafka: ## the Kafka suites on real Apache Kafka, restarts and crashes too; needs Java 17 and, once, Maven
	SYNCLINE_TEST_TIMEOUT=$(KAFKA_TIMEOUT) deploy/local/test-kafka.sh

test-cases: build ## cases told from outside, over CASES (folders); ONLY=name,…
	$(GO) build -trimpath -o bin/cases ./benchmarks/cases
	exec bin/cases -only '$(ONLY)' $(CASES)

selftest: ## breaks the code in one place and another: each test that must notice is red. MOST=3 only so many
	$(GO) build -o bin/sabotage ./benchmarks/sabotage
	exec bin/sabotage -most $(MOST)

chaos: $(PREVIOUS) ## faults by SEED and ROUNDS while the pipelines work: 0 wrong rows at the end
	SYNCLINE_CHAOS_SEED=$(SEED) SYNCLINE_CHAOS_ROUNDS=$(or $(ROUNDS),20) SYNCLINE_CHAOS_BINARY='$(PREVIOUS)' \
		$(GO) test ./benchmarks/endtoend -run '^TestChaos$$' -count=1 -v -timeout 30m

chaos-kafka: $(PREVIOUS) ## the same on three brokers of Apache Kafka, which are killed too; for 10m unless FOR or ROUNDS says; needs Java 17
	SYNCLINE_CHAOS_SEED=$(SEED) SYNCLINE_CHAOS_ROUNDS=$(or $(ROUNDS),1000) SYNCLINE_CHAOS_FOR=$(or $(FOR),$(if $(ROUNDS),0s,10m)) \
		SYNCLINE_CHAOS_BROKERS=3 SYNCLINE_CHAOS_BINARY='$(PREVIOUS)' \
		$(GO) test ./benchmarks/endtoend -run '^TestChaos$$' -count=1 -v -timeout 60m

soak: ## a steady feed for DURATION (3m): memory, goroutines, handles and queues stay flat
	SYNCLINE_SOAK=$(DURATION) $(GO) test ./benchmarks/endtoend -run '^TestSoak$$' -count=1 -v -timeout 0

$(CURDIR)/bin/previous-%:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && git archive $* | tar -x -C "$$dir" && cd "$$dir" && $(GO) build -trimpath -o $@ .

test-live: ## Kafka Connect, Debezium and PostgreSQL before up and before Apache Kafka; needs Java 17, Maven, PostgreSQL
	deploy/local/test-live.sh

lint: $(LINT) ## golangci-lint, and that its import rules bite
	$(LINT) run ./...
	.ci/lint-rules-check $(LINT)
	bash -n deploy/local/kafka.sh && bash -n deploy/local/test-kafka.sh && bash -n deploy/local/connect.sh && bash -n deploy/local/postgres.sh && bash -n deploy/local/test-live.sh && bash -n .ci/run && bash -n .ci/lint-rules-check

fmt: $(LINT) ## gofumpt and goimports over everything
	$(LINT) fmt ./...

# The version is in the file's name: a new pin installs anew, and nothing is put
# into go.mod, which would pull the linter's dependencies into ours.
$(LINT):
	@echo "installing golangci-lint $(GOLANGCI) into .bin (about 2 minutes, once)"
	@mkdir -p $(BIN)
	GOBIN=$(BIN) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv $(BIN)/golangci-lint $@ && ln -sf $(notdir $@) $(BIN)/golangci-lint

fuzz-smoke: ## each fuzz target for FUZZTIME (10s)
	@dirs=$$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sort -u); \
	[ -n "$$dirs" ] || { echo "make fuzz-smoke: found no fuzz target" >&2; exit 1; }; \
	for dir in $$dirs; do \
		targets=$$($(GO) test -list '^Fuzz' $$dir) || { echo "$$targets" >&2; exit 1; }; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

# In parts that can be called one by one; what has passed on this commit is not
# run again.
ALL_PARTS := lint verify test-long race-all test-kafka-long test-cases test-live selftest chaos chaos-kafka soak-long
COMMIT    := $(shell git rev-parse --short HEAD 2>/dev/null)
.PHONY: test-long race-all test-kafka-long soak-long
test-long:       ; SYNCLINE_LONG=1 $(MAKE) test TEST_TIMEOUT=40m TEST_SKIP='^$$$$'
race-all:        ; $(MAKE) race RACE_TIMEOUT=40m RACE_PKG="$$($(GO) list ./... | grep -v /benchmarks/endtoend | tr '\n' ' ')"
test-kafka-long: ; SYNCLINE_LONG=1 $(MAKE) test-kafka KAFKA_TIMEOUT=40m
soak-long:       ; $(MAKE) soak DURATION=30m

test-all: $(addprefix bin/passed/$(COMMIT)-,$(ALL_PARTS)) ## everything, at length, before a change is called done
bin/passed/$(COMMIT)-%:
	@git diff --quiet HEAD || { echo "make test-all: commit first; what has passed is kept by commit" >&2; exit 1; }
	$(MAKE) $*
	@mkdir -p $(@D) && touch $@

bench: ## Go benchmarks; BENCH=regexp, PKG=./folder choose
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

generate: ## write generated files anew
	$(GO) generate ./...

verify: ## go.mod is tidy, modules are what go.sum says, generated files are up to date
	$(GO) mod tidy -diff
	$(GO) mod verify
	@state() { git diff HEAD --binary; git ls-files --others --exclude-standard -z | xargs -0 -r cksum; }; \
	before=$$(state | cksum); $(GO) generate ./... || exit 1; \
	[ "$$before" = "$$(state | cksum)" ] || { git status --short >&2; \
		echo "make verify: go generate changed files; run make generate and commit what it writes" >&2; exit 1; }

clean: ## remove what was built; the linter, Kafka's jars and the engine stay in their caches
	rm -rf bin
	find . \( -name .git -o -name node_modules \) -prune -o \( -name '*.test' -o -name '*.prof' \) -type f -print | xargs -r rm -f
