# The task runner. Every target is a command that can be typed by hand; `make` alone lists them.
SHELL := bash
.DEFAULT_GOAL := help
export SQLX_OFFLINE = true
# The OpenSSL of the machine, where its headers are there: ours takes minutes to build. Images, and `cargo` without
# make, are built with ours; OPENSSL_NO_VENDOR=0 does so here.
ifeq ($(origin OPENSSL_NO_VENDOR) $(shell pkg-config --exists 'openssl >= 3' 2>/dev/null && echo has),undefined has)
export OPENSSL_NO_VENDOR = 1
endif
FUZZ_SECONDS ?= 60
# Tests that need the real Kafka and PostgreSQL: no part of `cargo test` or of clippy's targets, unless they are named.
BROKER_TESTS = --test it --test database
TARGETS = $${CARGO_TARGET_DIR:-$(CURDIR)/target}
TARGET = $(TARGETS)/release
# Selected out of the workspace: a package by itself asks for fewer features of the dependencies, and they would be
# built twice. The programs that only measure, check and torture are left out; they ask for no feature more.
CHECKED = --locked --workspace --exclude bench --exclude torture
PACKAGES = $(CHECKED) --exclude checks
PROGRAMS = --release $(PACKAGES)
DEV_ENV = cargo build --quiet $(PROGRAMS) --bin dev-env && $(TARGET)/dev-env
CHECKS = cargo build --quiet --release $(CHECKED) --bin checks && $(TARGET)/checks

# Debian's packages, where root may install them. Elsewhere the try itself says what this machine lacks.
define packages
	@if ! docker info >/dev/null 2>&1 && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& ! dpkg --status $(1) >/dev/null 2>&1; then \
		apt-get update >/dev/null && apt-get install --yes --no-install-recommends $(1) >/dev/null; \
	fi
endef

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: tools
tools:
	@command -v cargo >/dev/null || { echo 'this machine lacks cargo: install rustup, https://rustup.rs'; exit 1; }
	@command -v cc >/dev/null || { echo 'this machine lacks a C compiler: apt-get install build-essential'; exit 1; }

.PHONY: demo
demo: tools ## Run the main job from end to end, with a verdict
	@echo 'On a new machine most of two minutes on two cores goes by in the compiler.'
	@cargo build --profile demo $(PACKAGES) --bin dev-env && $(TARGETS)/demo/dev-env demo

.PHONY: test
test: tools ## Run all tests, against a Kafka and a PostgreSQL of their own
	cargo build $(PROGRAMS) --bins
	export TELEX_BIN_DIR=$(TARGET) && cargo test --release --locked --workspace && \
		$(DEV_ENV) with-services -- cargo test --release --locked --workspace $(BROKER_TESTS)

.PHONY: test-api
test-api: tools ## Send the API thousands of requests made from its own contract
	@$(CHECKS) test-api

.PHONY: monitoring-check
monitoring-check: tools ## Check rules, dashboards and a real Prometheus beside a running Telex
	@$(CHECKS) monitoring-check

.PHONY: compose-check
compose-check: tools ## Check Dockerfile and docker-compose.yml against the programs
	@$(CHECKS) compose-check

.PHONY: compose-try
compose-try: tools ## Start docker-compose.yml on a Docker engine and break it (REQUIRE_ENGINE=1: or fail)
	$(call packages,docker.io debootstrap jq)
	@$(CHECKS) compose-try

.PHONY: contract-check
contract-check: tools ## Check the topic's contract: schemas, AsyncAPI document, readers of a real topic
	@$(CHECKS) contract-check

.PHONY: backup-check
backup-check: tools ## Dump and restore a Telex under load as the guide says, and prove what comes back
	@$(CHECKS) backup-check

.PHONY: k8s-check
k8s-check: tools ## Build the manifests, and check them against the programs
	@$(CHECKS) k8s-check

.PHONY: cluster-check
cluster-check: tools ## Ask a real Kubernetes API server about the manifests (built once, minutes)
	@$(CHECKS) cluster-check

.PHONY: cluster-try
cluster-try: tools ## Start a node of Kubernetes: break dev on it, have KEDA scale it, run prod (REQUIRE_ENGINE=1: or fail)
	$(call packages,docker.io debootstrap containernetworking-plugins ipset iptables iproute2 jq openssl)
	@$(CHECKS) cluster-try $(ARGS)

.PHONY: cluster-page
cluster-page: tools ## Write docs/deployment-report.md from the last cluster-try here
	@$(CHECKS) cluster-page

.PHONY: k8s-rules
k8s-rules: tools ## Write the alerts of monitoring/ and the roles of migrations/ into k8s/
	@$(CHECKS) k8s-rules

.PHONY: openapi
openapi: tools ## Write ingest-api/openapi.json from the code
	@cargo run --locked --quiet --package ingest-api --example openapi > $(CURDIR)/target/openapi.json
	@mv $(CURDIR)/target/openapi.json ingest-api/openapi.json

.PHONY: fuzz
fuzz: tools ## Feed each fuzz target: make fuzz FUZZ_SECONDS=60
	@fuzz/run $(FUZZ_SECONDS)

# A processor that can be held at any moment: never what is shipped.
TORTURE = cargo build --release --locked --quiet --workspace --bins --features processor/failpoints \
	&& $(TARGET)/torture --binaries $(TARGET)

.PHONY: torture-quick
torture-quick: tools ## Break it in every way of the quick tier, and check that each promise holds
	$(TORTURE) quick $(ARGS)

.PHONY: torture-mutants
torture-mutants: tools ## Plant bugs in a copy of it, and see that the torture finds each
	$(TORTURE) mutants $(ARGS)

.PHONY: torture
torture: tools ## Run fault after fault for a long time: make torture DURATION=2700 RATE=500
	$(TORTURE) --rate $(or $(RATE),500) long $(if $(DURATION),--duration $(DURATION)) $(ARGS)

.PHONY: restore-drill
restore-drill: tools ## Back up, go on under load, restore to AGO=300 seconds ago, compare everything
	$(TORTURE) --restore-ago $(or $(AGO),300) run --fault F20 $(ARGS)

.PHONY: upgrade-try
upgrade-try: tools ## Upgrade from the commit in torture/before (or BEFORE=…) and back, under load
	former="$$(torture/former $(BEFORE))" && $(TORTURE) --former "$$former" run --fault U1 $(ARGS)

.PHONY: torture-page
torture-page: tools ## Write docs/torture.md and docs/planted-bugs.md from the last runs here
	$(TORTURE) page

.PHONY: lint
lint: tools ## Check planted bugs, format, clippy, documentation, queries, dependencies
	@for patch in torture/mutants/*.patch; do git apply --check "$$patch" || exit 1; done
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --release --locked --workspace $(BROKER_TESTS) --all-features -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --release --locked --workspace --no-deps --document-private-items
	$(DEV_ENV) sqlx-prepare --check
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check bans licenses sources

.PHONY: docs
docs: tools ## Write the tables of settings and metrics into the documents
	TELEX_WRITE_DOCS=1 cargo test --locked --workspace --lib lists

.PHONY: up
up: tools ## Start an environment that stays
	@$(DEV_ENV) up

.PHONY: down
down: ## Stop it; its data stays
	@$(DEV_ENV) down

.PHONY: status
status: ## Show what of it runs, and where
	@$(DEV_ENV) status

.PHONY: logs
logs: ## Follow its logs
	@$(DEV_ENV) logs

.PHONY: tail
tail: ## Show the records of its topic, as they come: make tail ARGS='--limit 10'
	@$(DEV_ENV) tail -- $(ARGS)

.PHONY: psql
psql: ## Open a prompt of its database
	@$(DEV_ENV) psql

.PHONY: loadtest
loadtest: tools ## Send webhooks and verify what became of them: make loadtest RATE=10000 DURATION=60
	@$(DEV_ENV) loadtest -- $(if $(RATE),--rate $(RATE)) $(if $(DURATION),--duration $(DURATION)) $(ARGS)

.PHONY: test-report
test-report: tools ## Look at the load tester's report in a browser, headless
	@command -v chromium >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get install -y --no-install-recommends chromium >/dev/null; \
	} || { echo 'this machine lacks chromium: apt-get install chromium'; exit 1; }
	cargo test --locked --workspace --features loadtest/browser-tests --test browser

.PHONY: bench
bench: tools ## Measure it beside the alternatives, with verdicts: make bench, make bench QUICK=1
	cargo build --release --locked --workspace --bins
	@$(TARGET)/bench run $(if $(QUICK),--quick) $(ARGS)

.PHONY: bench-document
bench-document: tools ## Write docs/benchmarks.md from the last measurement
	@cargo run --release --locked --quiet --package bench -- document

.PHONY: sqlx
sqlx: tools ## Check the queries against the migrations and write .sqlx/
	@$(DEV_ENV) sqlx-prepare

.PHONY: clean
clean: ## Stop everything; remove .dev/ and target/
	@if [ -d .dev ]; then $(DEV_ENV) clean; fi
	cargo clean --quiet
