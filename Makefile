# Everything a developer runs. Needs Go and make; git and npm for demo and test;
# what more a target needs it says. `make` alone lists the targets.

GO            ?= go
GOLANGCI      := v2.15.0
BIN           := $(CURDIR)/.bin
LINT          := $(BIN)/golangci-lint-$(GOLANGCI)
# For each package: what hangs is to be named before the whole run is out of time.
TEST_TIMEOUT  ?= 9m
RACE_TIMEOUT  ?= 12m
PKG           ?= ./...
# The end-to-end suite works on processes, which the race detector does not see into.
RACE_PKG      ?= $$($(GO) list $(PKG) | grep -v /benchmarks/endtoend)
FUZZTIME      ?= 10s
BENCH         ?= .
CASES         ?= benchmarks/cases/testdata
ONLY          ?=

# One binary without a C compiler anywhere; only the race detector needs one.
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help demo build test race test-kafka test-cases lint fmt fuzz-smoke bench generate verify clean

help: ## this list
	@printf 'usage: make TARGET [PKG=./...]\n\n'
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

demo: ## the recorded company through all hops into ClickHouse, verified; then live
	$(GO) run . demo

build: ## bin/syncline
	$(GO) build -trimpath -o bin/syncline .

test: ## all suites on the embedded platform, below 10 minutes
	$(GO) test -shuffle=on -timeout $(TEST_TIMEOUT) $(PKG)

race: ## the same under the race detector; needs a C compiler
	@cc=$$($(GO) env CC); command -v "$${cc%% *}" >/dev/null 2>&1 || { \
		echo "make race: the race detector needs a C compiler and $$cc is not there. Debian, Ubuntu: apt-get install gcc libc6-dev. macOS: xcode-select --install. Or set CC." >&2; exit 1; }
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout $(RACE_TIMEOUT) $(RACE_PKG)

test-kafka: ## the Kafka suites on real Apache Kafka, restarts and crashes too; needs Java 17 and, once, Maven
	SYNCLINE_TEST_TIMEOUT=15m deploy/local/test-kafka.sh

test-cases: build ## cases told from outside, over CASES (folders); ONLY=name,…
	$(GO) build -trimpath -o bin/cases ./benchmarks/cases
	exec bin/cases -only '$(ONLY)' $(CASES)

lint: $(LINT) ## golangci-lint, and that its import rules bite
	$(LINT) run ./...
	.ci/lint-rules-check $(LINT)
	bash -n deploy/local/kafka.sh && bash -n deploy/local/test-kafka.sh && bash -n .ci/run && bash -n .ci/lint-rules-check

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
