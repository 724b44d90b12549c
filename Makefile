# kfdev's make targets. Everything that a target needs it sets up itself.
GO       ?= go
PROJECT  ?= demo
BIN      := bin/kfdev
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/kfdev/kfdev/cmd/kfdev/root.version=$(VERSION)
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2


.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup generate build up down test unit integration e2e lint fmt docs reproduce fuzz bench soak clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Install what is missing (Docker, a C compiler for the race detector) and start Docker where none runs
	@hack/setup.sh

generate: ## Take the manifests that ship in Go modules from the module cache, and build the sync helper
	@$(GO) run ./internal/gen/upstream
	@$(GO) run ./internal/gen/helper

build: generate ## Build bin/kfdev
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/kfdev

up: setup build ## The main job: a project in $(PROJECT), its lock, its cluster, and every smoke test
	@test -e $(PROJECT)/kfdev.yaml || $(BIN) init $(PROJECT)
	$(BIN) up --project $(PROJECT)
	$(BIN) verify --project $(PROJECT)
	$(BIN) status --project $(PROJECT)

down: ## Delete the cluster that make up made
	$(BIN) down --delete --project $(PROJECT)

test: setup build ## Everything: unit, integration, and end to end on a real kind cluster
	@hack/test.sh

unit: generate ## The fast loop: what a change touches (make test runs everything, in another order each time)
	$(GO) test -race ./...

integration: build ## Against a real kube-apiserver with etcd
	$(GO) test -race -tags integration -run Integration -timeout 20m ./...

e2e: setup build ## Against a real kind cluster
	$(GO) test -tags e2e -count=1 -timeout 60m -v ./e2e/...

lint: generate ## The linter, with the import rules
	$(GO) run $(LINT) run ./...

fmt: ## Format
	$(GO) run $(LINT) fmt ./...

docs: ## Write the command reference
	$(GO) run ./internal/gen/docs

reproduce: build ## Build the whole closure again and compare every digest
	$(BIN) images verify --project $(PROJECT)

fuzz: ## Every fuzz target for 30 s
	@hack/fuzz.sh 30s

bench: build ## The benchmarks of docs/benchmarks.md
	@hack/bench.sh

soak: build ## Ten edits a second through kfdev sync, for an hour (KFDEV_SOAK=10m: for less)
	@hack/bench.sh soak

clean: ## Remove what was built here (caches and clusters stay)
	rm -rf bin dist
