# Everything a person does with this repository; `make` lists it. Works with GNU make 3.81 and newer.

# How `make run` and `make demo` build: `dev` (two to three minutes the first time, on two cores) or
# `release` (three times as long, and several times as fast when it runs).
PROFILE ?= dev
# More arguments for `mall up`, `mall demo` or `mall load`: make run ARGS="--open".
ARGS ?=

CARGO ?= cargo
DENY = "$$(scripts/parts cargo-deny)"

.PHONY: help setup parts build run observe demo load image kind-up kind-down kind-load jaeger \
	test cluster-test fuzz soak check fmt lint lint-k8s deny sbom docs docs-telemetry bench compare screenshots clean

help: ## lists the targets (the default)
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## installs what building needs besides Rust: protoc, for one dependency
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
	@scripts/parts protoc >/dev/null

parts: ## gets the real parts of the tests once, outside the checkout: Jaeger, collector, Prometheus, PostgreSQL, Chromium, ..
	@scripts/parts all

build: setup ## builds the binary for PROFILE (dev, or release)
	$(CARGO) build --locked --profile $(PROFILE) -p mall

run: build ## builds and runs the mall on this machine; Ctrl-C stops it (ARGS="--open" opens the browser)
	@$(CARGO) run --quiet --locked --profile $(PROFILE) -p mall -- up $(ARGS)

observe: build ## the same with collector, Jaeger, Prometheus: traces, metrics and logs of everything; Ctrl-C stops it
	@CARGO="$(CARGO)" PROFILE="$(PROFILE)" scripts/observe $(ARGS)

demo: build ## one shopper goes through a running mall; prints each step and where its trace is shown (ARGS="--viewer URL")
	@$(CARGO) run --quiet --locked --profile $(PROFILE) -p mall -- demo $(ARGS)

load: build ## many shoppers go through a running mall; prints what they waited for (ARGS="--users 50 --rate 50")
	@$(CARGO) run --quiet --locked --profile $(PROFILE) -p mall -- load $(ARGS)

image: ## builds the container image mall:dev with Docker
	docker buildx build --load --tag mall:dev .

kind-up: ## the mall in a Kubernetes cluster on this machine, in Docker (LINKERD=1 meshes it, MONITORING=1 adds Grafana)
	@scripts/kind up

kind-down: ## removes that cluster
	@scripts/kind down

kind-load: ## shoppers without end in that cluster; `scripts/kind load off` sends them home
	@scripts/kind load

jaeger: ## shows that cluster's traces at http://127.0.0.1:5000/ until Ctrl-C
	@scripts/kind jaeger

test: setup ## runs all tests; those whose part is missing say so and pass, unless MALL_TEST_REQUIRE names it
	$(CARGO) test --workspace --locked

cluster-test: setup ## tries the mall in the cluster that KUBECTL names, which has the images (KUBECTL="kubectl --context kind-mall")
	@test -n "$(KUBECTL)" || { echo "KUBECTL names no cluster: make cluster-test KUBECTL=\"kubectl --context kind-mall\"" >&2; exit 2; }
	KUBECTL="$(KUBECTL)" $(CARGO) test --locked -p mall --test cluster -- --nocapture $(ONLY)

# TARGETS narrows it, FUZZ_SECONDS is for each. What is found goes to fuzz/artifacts; what is worth keeping, into the corpus.
TARGETS ?= rest tokens headers otlp config pages callbacks
FUZZ_SECONDS ?= 60
fuzz: setup ## makes up input for whatever reads what strangers send, a minute each (TARGETS="rest otlp" FUZZ_SECONDS=600)
	@scripts/fuzz $(FUZZ_SECONDS) $(TARGETS)

SOAK ?= 20m
soak: setup ## shoppers without end while services, PostgreSQL, disks, the network and the collector break, 20 minutes (SOAK=3m)
	MALL_SOAK=$(SOAK) $(CARGO) test --locked -p mall --test shop soak -- --nocapture --test-threads=1

check: fmt lint docs deny ## what must hold before a commit: format, clippy, documentation, dependencies

fmt: ## is the code formatted?
	$(CARGO) fmt --all --check

lint: setup ## clippy on everything, and on the binary without the viewer; warnings are errors
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p mall --bins --no-default-features --locked -- -D warnings

lint-k8s: ## checks every overlay with kubeconform, kube-score and checkov, and every script with shellcheck
	@scripts/check-manifests

docs: setup ## builds the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

docs-telemetry: setup ## writes the tables of docs/telemetry.md anew from the code
	MALL_WRITE_DOCS=1 $(CARGO) test --locked -p telemetry --test document

# The advisory database comes from GitHub, which not every machine reaches; all else is checked anywhere.
deny: ## licences, bans and sources of the dependencies, and their advisories where those can be fetched
	@scripts/parts cargo-deny >/dev/null
	$(DENY) --locked check licenses bans sources
	@if $(DENY) --locked fetch db >/dev/null 2>&1; then \
		$(DENY) --locked check --disable-fetch advisories; \
	else \
		echo "advisories: NOT CHECKED, the advisory database cannot be fetched from here" >&2; \
	fi

sbom: ## lists all that the binary is made of, as SPDX, in target/mall.spdx.json
	@mkdir -p target
	@"$$(scripts/parts cargo-sbom)" --cargo-package mall --output-format spdx_json_2_3 > target/mall.spdx.json
	@echo "target/mall.spdx.json: $$(grep -c '"SPDXID": "SPDXRef-Package' target/mall.spdx.json) packages"

# GROUPS narrows it: make bench GROUPS="startup memory". With BENCH_STRICT=1 a missed budget is a failure.
BENCHED = --locked -p auth -p mall -p telemetry -p user -p viewer
bench: setup ## measures the budgets, in release mode, and prints them as one table
	$(CARGO) bench $(BENCHED) --no-run --bench allocations --bench budgets --bench span --bench store --bench token
	@$(CARGO) bench $(BENCHED) --quiet --bench budgets -- $(GROUPS)

# The same services in Go are built by Go, Jaeger is got; GROUPS narrows it: make compare GROUPS="peer-gateway peer-rpc".
PEERS = peer-gateway peer-rpc peer-tracing peer-viewer peer-start
compare: setup ## measures us beside grpc-gateway, the same services in Go, and Jaeger, and prints one table
	@scripts/parts jaeger jaeger-ui postgres >/dev/null
	@bench/go/build >/dev/null
	$(CARGO) bench $(BENCHED) --no-run --bench budgets
	@$(CARGO) bench $(BENCHED) --quiet --bench budgets -- $(or $(GROUPS),$(PEERS))

screenshots: setup ## draws the pictures of the documentation anew, from real traces and metrics in Chromium
	@mkdir -p docs
	MALL_TEST_REQUIRE=chromium MALL_SCREENSHOTS="$(CURDIR)/docs" $(CARGO) test --locked -p mall --test ui
	MALL_TEST_REQUIRE=chromium,jaeger,jaeger-ui,collector,prometheus MALL_SCREENSHOTS="$(CURDIR)/docs" \
		$(CARGO) test --locked -p mall --test observe monitor

clean: ## removes what was built, and the data of `make run`
	$(CARGO) clean
	rm -rf .mall
