#!/usr/bin/env bash
# The figures of docs/benchmarks.md, on a project of their own (a cluster and a
# registry apart from a person's): whole commands, sync beside its peers, the Go
# benchmarks. Needs the lock's images in the store (make up or make test puts
# them there).
#
#   bench.sh         all of them (make bench)
#   bench.sh sync    sync alone; KFDEV_BENCH_TOOLS=kfdev leaves the peers out
#   bench.sh drift, bench.sh admission, bench.sh apply   on a kube-apiserver alone
#   bench.sh copy    between two registries of its own, beside oras
#   bench.sh soak    ten edits a second for an hour, or KFDEV_SOAK (make soak)
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

kf() { "$kfdev" "$@" --project "$work/kfbench" --progress quiet; }

bring_up() {
  echo "machine: $(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2/1048576}' /proc/meminfo), $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg)"
  "$kfdev" init "$work/kfbench" --origin source --progress quiet >/dev/null
  timed "lock, everything in the store" kf lock
  timed "up, everything in the store, no cluster" kf up
}

commands() {
  for _ in 1 2 3; do timed "kfdev version" "$kfdev" version; done
  for _ in 1 2 3 4 5; do timed "up again" kf up; done
  kf status | grep memory
  timed "down" kf down
  timed "up after down" kf up
}

sync_test() { # sync_test NAME TIMEOUT: a test of e2e on the project
  KFDEV_BIN="$kfdev" KFDEV_BENCH_PROJECT="$work/kfbench" KFDEV_BENCH_OUT="$work/sync.md" KFDEV_BENCH_FLOORS="$work/floors" \
    "$go" test -tags 'e2e bench' -count=1 -timeout "$2" -v -run "^$1\$" ./e2e
}

floors() { # what sync is held to (e2e/floors_test.go); fails where one is missed
  echo && cat "$work/floors"
  ! grep -q '^missed' "$work/floors"
}

drift_test() { # scans of a real API server, beside kubectl diff --server-side
  "$go" test -tags integration -run '^$' -bench IntegrationScan -benchtime 10x ./envs/drift
}

admission_test() { # what the policy of images adds to the creation of a pod
  "$go" test -tags integration -run '^$' -bench IntegrationAdmission -benchtime 600x ./stack/policy
}

apply_test() { # five hundred objects, beside kubectl apply --server-side and Flux's library
  "$go" test -tags integration -run '^$' -bench 'Integration(Cold|Nothing)' -benchtime 5x -timeout 30m ./stack/apply
}

copy_test() { # images from one registry to another, beside oras cp -r
  GOBIN="$work/bin" "$go" install oras.land/oras/cmd/oras@v1.3.0
  KFDEV_BENCH_ORAS="$work/bin/oras" "$go" test -tags bench -run '^$' -bench CopyBeside -benchtime 5x ./images/registry
}

parity_test() { # core in two clusters, compared and promoted
  KFDEV_BIN="$kfdev" KFDEV_BENCH_OUT="$work/parity.md" \
    "$go" test -tags 'e2e bench' -count=1 -timeout 40m -v -run '^TestParityBench$' ./e2e
}

case ${1:-all} in drift | admission | apply | copy | parity) ;; *) bring_up ;; esac
case ${1:-all} in
  all)
    commands
    sync_test TestSyncBench 90m
    "$go" test -run '^$' -bench . -benchmem ./...
    drift_test
    admission_test
    apply_test
    copy_test
    parity_test
    cat "$work/sync.md"
    floors
    ;;
  sync)
    sync_test TestSyncBench 90m
    cat "$work/sync.md"
    floors
    ;;
  drift) drift_test ;;
  admission) admission_test ;;
  apply) apply_test ;;
  copy) copy_test ;;
  parity) parity_test ;;
  soak) sync_test TestSoak 0 ;;
  *) echo "bench.sh [all|sync|drift|admission|apply|copy|parity|soak]" >&2 && exit 2 ;;
esac
