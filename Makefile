# What people type. The work is in tests/run, tests/demo/* and tests/cluster/cluster; `make help` lists the targets.

.DEFAULT_GOAL := help
.PHONY: help demo demo-down try test sieve soak soak-sim fuzz lint generate bench-detect

SEEDS ?= 1000
SOAK_MINUTES ?= 120
POINTS ?=
CLUSTER_DIR ?= $(CURDIR)/.cluster
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?= alert answer ledger notation policy profile query replay words

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the main job for real: a cluster, a leak, a finding, an alert, a restart (root; first run about 25 minutes, then 5)
	@tests/demo/demo

demo-down: ## remove everything that the demo made
	@tests/demo/demo --down

try: ## the same finding without root and without a cluster: plain processes on loopback (about 3 minutes once built)
	@tests/demo/try

test: ## all tests: unit, wire, simulated, real API server, real cluster (root for the last; about an hour)
	@tests/run

sieve: ## kill and deceive the operator at every point of a restart on a real cluster that is up, POINTS=eviction or POINTS=0/8 (docs/safety.md)
	CLUSTER_DIR=$(CLUSTER_DIR) GRPC_HYGIENE_E2E_KUBECONFIG=$(CLUSTER_DIR)/kubeconfig POINTS='$(POINTS)' \
	  cargo test --locked --test sieve -- --ignored --nocapture

soak: ## twenty tenants on a real cluster that is up, a disturbance a minute, and no promise broken, SOAK_MINUTES=120 (docs/safety.md)
	CLUSTER_DIR=$(CLUSTER_DIR) GRPC_HYGIENE_E2E_KUBECONFIG=$(CLUSTER_DIR)/kubeconfig SOAK_MINUTES='$(SOAK_MINUTES)' \
	  cargo test --locked --test e2e -- --ignored --nocapture soak::

soak-sim: ## two replicas in simulated time with faults of every kind, SEEDS=1000 (see tests/simulation.rs)
	SIMULATION_SEEDS=$(SEEDS) cargo test --profile simulation --locked --test simulation -- --ignored --nocapture no_seed_breaks_an_invariant

fuzz: ## nonsense for every parser and for the replay, FUZZ_SECONDS=30 each (needs cargo-fuzz and a C++ compiler)
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=20 || exit 1; \
	done

lint: ## what CI checks besides tests: format, clippy, docs, licences, chart, scripts
	@tests/lint

generate: ## write the files that are generated from the code
	cargo run --quiet --locked -- crd --output-dir crds
	cp crds/*.yaml charts/grpc-hygiene/files/crds/

bench-detect: ## how good the detector is, next to what people use today: one table (ARGS="--smoke", ARGS=--help)
	cargo bench --quiet --locked --bench detect -- $(ARGS)
