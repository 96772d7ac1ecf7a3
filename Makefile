# Everything a developer runs. Needs Go, git and make (and a C compiler for the
# race detector); all else comes as Go modules.

BIN      ?= bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
MODULE   := $(shell go list -m)
COMMANDS := $(notdir $(patsubst %/,%,$(dir $(wildcard cmd/*/main.go))))
CLIENTS  := $(wildcard test/clients/run)

# How every binary is built, here and in .ci/run.
BUILD   = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
LDFLAGS = -s -w -buildid= -X $(MODULE)/internal/version.value=$(VERSION)

# What is built for tests beside the race detector is compiled in one way, so that
# programs and tests share what Go's cache has.
ONE_WAY = CGO_ENABLED=0 GOFLAGS="$$(go env GOFLAGS) -trimpath"

# The modules that make test runs; the last one needs a real control plane.
MODULES = . images test
# Those that are linted and kept tidy.
ALL_MODULES = $(MODULES) test/clients
TOOL    = go tool -modfile=$(CURDIR)/test/tools/go.mod

# What make images makes images for, and what is written on them.
ARCHS    ?= amd64 arm64
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
REGISTRY ?=

# What make release makes archives for; programs that run in clusters are for Linux alone.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
PORTABLE   = azwi azwi-emulator

GO_VERSION ?=
KUBERNETES ?=
IMAGES   = .cache/bin/images

API_PORT  ?= 16443
ETCD_PORT ?= 12379
KEEP      ?=
NODE      ?=
COMMA     := ,
FUZZTIME  ?= 30s
TESTFLAGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@echo "$(MODULE) $(VERSION)"; echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/azwi, bin/azwi-webhook and the other binaries
	@mkdir -p $(BIN)
	@for c in $(COMMANDS); do echo "$(BIN)/$$c"; $(BUILD) -o $(BIN)/$$c ./cmd/$$c || exit 1; done

.PHONY: binaries
binaries:
	@for a in $(ARCHS); do GOOS=linux GOARCH=$$a $(MAKE) --no-print-directory build BIN=dist/linux-$$a || exit 1; done

.PHONY: images
images: binaries ## Make the OCI images dist/images/*.tar with their SBOMs; no Docker needed (ARCHS=amd64)
	@$(ONE_WAY) go -C images build -o $(CURDIR)/$(IMAGES) ./cmd/images
	@$(IMAGES) build -version=$(VERSION) -revision=$(REVISION) -epoch=$(SOURCE_DATE_EPOCH) -arch=$(subst $() ,$(COMMA),$(strip $(ARCHS)))

.PHONY: push
push: images ## Push them to REGISTRY= as azwi/NAME:VERSION, both platforms under one reference
	@$(IMAGES) push -registry=$(REGISTRY) -arch=$(subst $() ,$(COMMA),$(strip $(ARCHS)))

.PHONY: release
release: LDFLAGS += $(if $(REGISTRY),-X $(MODULE)/internal/version.registry=$(REGISTRY))
release: ## Make dist/release: archives, SBOMs, manifests, chart, sums, notes (PLATFORMS=; REGISTRY= has the images)
	@rm -rf dist/programs
	@for p in $(PLATFORMS); do \
		case $$p in linux/*) programs='$(COMMANDS)'; exe=;; windows/*) programs='$(PORTABLE)'; exe=.exe;; *) programs='$(PORTABLE)'; exe=;; esac; \
		for c in $$programs; do out=dist/programs/$${p%/*}-$${p#*/}/$$c$$exe; echo $$out; \
			GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o $$out ./cmd/$$c || exit 1; done; done
	@$(ONE_WAY) go -C images build -o $(CURDIR)/.cache/bin/release ./cmd/release
	@.cache/bin/release -version=$(VERSION) -epoch=$(SOURCE_DATE_EPOCH) -registry=$(REGISTRY)

.PHONY: update
update: ## Update dependencies of all Go modules, and Go itself (GO_VERSION=) and Kubernetes (KUBERNETES=v1.X.Y) if asked
	@set -e; for m in $(ALL_MODULES) test/tools; do echo "update, module folder $$m"; \
		$(if $(GO_VERSION),go -C $$m mod edit -go=$(GO_VERSION);) \
		case $$m in test/tools) go -C $$m get -u tool;; *) go -C $$m get -u ./...;; esac; go -C $$m mod tidy; done
	@$(if $(KUBERNETES),f=test/cluster/kube/go.mod; old=$$(awk '$$1 == "k8s.io/kubernetes" { print $$2; exit }' $$f); new=$(KUBERNETES); \
		sed -i "s|\(k8s\.io/[a-z-]*\) v0\.$${old#v1.}|\1 v0.$${new#v1.}|; s|\(k8s\.io/kubernetes\) $$old|\1 $$new|" $$f && go -C test/cluster/kube mod tidy)
	@git diff --stat -- '*go.mod'; echo "Now run .ci/run: what it does not pass is not to be kept. docs/support.md says what was tested."

.PHONY: demo
demo: ## Show the whole path on this machine, from a pod to an access token (builds an API server the first time)
	@began=$$(date +%s); mkdir -p $(BIN); echo "building azwi: about two minutes on two idle cores the first time"; \
		$(BUILD) -o $(BIN)/ ./cmd/azwi ./cmd/azwi-emulator ./cmd/azwi-webhook && \
		$(ONE_WAY) go -C test build -o $(CURDIR)/.cache/bin/ ./demo ./demo/workload && .cache/bin/demo -bin=$(BIN) -began=$$began

.PHONY: playground
playground: build kube ## Start an API server, the local Entra and the webhook, joined, with five commands to try; Ctrl-C ends it
	@$(ONE_WAY) go -C test build -o $(CURDIR)/.cache/bin/ ./demo
	@.cache/bin/demo -playground=.playground

.PHONY: test
test: kube compile ## Run the tests with the race detector, on a real control plane (TESTFLAGS=-v)
	@code=0; for m in $(MODULES); do echo "go test, module folder $$m"; \
		go -C $$m test -race -vet=off -timeout=20m $(TESTFLAGS) ./... || code=1; done; exit $$code

# Before the first test starts its clock: no deadline of a test includes a compilation, its
# own or that of a package beside it. Vet is part of make lint.
.PHONY: compile
compile:
	@for m in $(MODULES); do echo "compile, module folder $$m"; go -C $$m list -race -test -deps -export ./... >/dev/null || exit 1; done
	@for m in $(MODULES) test/authority/certcontroller; do $(ONE_WAY) go -C $$m list -deps -export ./... >/dev/null || exit 1; done

.PHONY: e2e
e2e: kube ## Prove the whole product on a real node: images, install, pods (5 minutes, root)
	@.cache/bin/cluster check
	@$(MAKE) --no-print-directory images ARCHS=$$(go env GOARCH)
	@AZWI_E2E=1 go -C test test -count=1 -timeout=20m $(TESTFLAGS) ./e2e

# Not part of .ci/run: it takes more time than all of that has left.
.PHONY: adoption
adoption: kube ## Prove on a real node that azwi takes the place of the real upstream, and back (25 minutes, root)
	@.cache/bin/cluster check
	@$(MAKE) --no-print-directory images ARCHS=$$(go env GOARCH)
	@AZWI_E2E=1 AZWI_ADOPTION=1 go -C test test -count=1 -timeout=60m -v -run='^TestAdoption$$' $(TESTFLAGS) ./e2e

.PHONY: test-clients
test-clients: build ## Run the real Azure SDKs and az against the emulator
	@$(if $(CLIENTS),$(CLIENTS),echo "There is no test/clients/run yet.")

.PHONY: cluster-up
cluster-up: .cache/bin/cluster ## Start a real control plane for trying things out (API_PORT=, ETCD_PORT=); NODE=1: pods run (root)
	@$(if $(NODE),$(MAKE) --no-print-directory images ARCHS=$$(go env GOARCH))
	@.cache/bin/cluster up -api-port=$(API_PORT) -etcd-port=$(ETCD_PORT) $(if $(NODE),-node -images=$$(ls dist/images/*-linux-$$(go env GOARCH).tar | paste -sd,))

.PHONY: cluster-down
cluster-down: .cache/bin/cluster ## Stop it and remove its data (KEEP=1: leave them for the next start)
	@.cache/bin/cluster down $(if $(KEEP),-keep)

.PHONY: kube
kube: .cache/bin/cluster ## Build the Kubernetes binary that tests and demo need (8 minutes, once)
	@.cache/bin/cluster build

.PHONY: generate
generate: ## Regenerate generated files: deploy/, parts of the chart, docs/reference/
	@go -C test run ./chart/cmd/generate $(CURDIR)
	@go test -count=1 -run='^TestExamples$$' ./internal/finding -update
	@go -C test test -count=1 -run='^TestReference$$' ./docs -update

.PHONY: lint
lint: ## Run the linters and vet
	@code=0; for m in $(ALL_MODULES); do echo "lint, module folder $$m"; \
		(cd $$m && go vet ./... && $(TOOL) golangci-lint run ./...) || code=1; done; exit $$code

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what the binaries use
	@$(TOOL) govulncheck ./...

.PHONY: bench
bench: build kube ## Print the figures of docs/benchmarks.md (10 minutes, better on an idle machine)
	@go -C test run ./bench
	@go -C test run ./bench/proxy
	@echo; echo "## The emulator: token exchanges on one core, and start to ready"
	@go test -run='^$$' -bench='Exchange|Refusal' -benchtime=3s -cpu=1 ./emulator
	@go test -run='^$$' -bench=Start -benchtime=3x ./cmd/azwi-emulator
	@echo; echo "## azwi: size and start"
	@go test -run='^$$' -bench=Version -benchtime=50x ./cmd/azwi -azwi=$(CURDIR)/$(BIN)/azwi
	@echo; echo "## azwi federation: 3,000 credentials on 150 identities"
	@go test -run='^$$' -bench=Plan -benchtime=5x ./internal/identity/federation
	@go test -run=TestApplyAtAzuresLimits -count=1 -v ./internal/identity/federation | grep 'simulated'
	@echo; echo "## azwi doctor: 2,000 pods, 500 service accounts, 300 identities"
	@go -C test test -run=TestScale -count=1 -v ./doctor -scale | grep 'scale_test'
	@echo; echo "## azwi wait against the emulator's replication"
	@go test -count=1 -v -run='TestWaitFigures|TestWaitOverHTTP' ./emulator -figures | grep -v -e '^=== ' -e '^--- PASS'

.PHONY: soak
soak: build ## Load the proxy for ten minutes at 2,000 requests a second and watch its memory
	@go -C test run ./bench/proxy -soak=10m

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@set -e; for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "$$f in $$p"; go test -run='^$$' -fuzz="^$$f\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1x $$p; \
		done; done

.PHONY: clean
clean: cluster-down ## Remove what was built, the Kubernetes binary too, and stop the cluster
	rm -rf $(BIN) dist .cache

.PHONY: .cache/bin/cluster
.cache/bin/cluster:
	@$(ONE_WAY) go -C test build -o $(CURDIR)/$@ ./cluster/cmd/cluster
