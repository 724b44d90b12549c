#!/usr/bin/env bash
# The figures of docs/benchmarks.md: whole commands on a project of their own
# (a cluster and a registry apart from a person's), then the Go benchmarks.
# Needs the lock's images in the store (make up or make test puts them there).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kfdev="$PWD/bin/kfdev"
go=${GO:-go}
work=$(mktemp -d)
export KUBECONFIG="$work/kubeconfig" XDG_STATE_HOME="$work/state" KFDEV_REGISTRY=kfdev-registry-bench
cleanup() { "$kfdev" down --delete --project "$work/kfbench" --progress quiet >/dev/null 2>&1 || true; rm -rf "$work"; }
trap cleanup EXIT

timed() { # timed LABEL COMMAND…: the wall time of a command
  local label=$1 start end
  shift
  start=$(date +%s.%N)
  "$@" >/dev/null
  end=$(date +%s.%N)
  awk -v l="$label" -v s="$start" -v e="$end" 'BEGIN { printf "%-42s %8.2f s\n", l, e - s }'
}

echo "machine: $(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2/1048576}' /proc/meminfo), $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg)"
"$kfdev" init "$work/kfbench" --origin source --progress quiet >/dev/null
for _ in 1 2 3; do timed "kfdev version" "$kfdev" version; done
timed "lock, everything in the store" "$kfdev" lock --project "$work/kfbench" --progress quiet
timed "up, everything in the store, no cluster" "$kfdev" up --project "$work/kfbench" --progress quiet
for _ in 1 2 3 4 5; do timed "up again" "$kfdev" up --project "$work/kfbench" --progress quiet; done
"$kfdev" status --project "$work/kfbench" --progress quiet | grep memory
timed "down" "$kfdev" down --project "$work/kfbench" --progress quiet
timed "up after down" "$kfdev" up --project "$work/kfbench" --progress quiet

echo
"$go" test -run '^$' -bench . -benchmem ./...
