#!/usr/bin/env bash
# Every test, in the order that finds a fault soonest: vet, then unit and
# integration under the race detector, then end to end on a real kind cluster.
# Run by make test, after make setup and make build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}

say() { printf '\n== %s\n' "$*"; }

say "vet"
"$go" vet ./...
"$go" vet -tags e2e ./...
"$go" vet -tags 'e2e bench' ./e2e/...

say "unit and integration"
"$go" test -race -shuffle=on -timeout 40m -tags integration ./...

say "end to end: one project's life on a real cluster"
KFDEV_BIN="$PWD/bin/kfdev" "$go" test -tags e2e -count=1 -timeout 70m -v ./e2e/...

# The adapters alone, on the images that the test above left in Docker.
say "end to end: adapters on the real daemon"
"$go" test -tags e2e -count=1 -p 1 -timeout 20m ./internal/docker ./cluster/kind ./images/localregistry
