#!/usr/bin/env bash
# Runs every fuzz target of the tree, each for the time given (default 30s).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-30s}
go=${GO:-go}
grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
  pkg=$(dirname "$file")
  grep -ohE '^func (Fuzz[A-Za-z0-9_]*)' "$file" | awk '{print $2}' | while read -r target; do
    echo "== $pkg $target"
    "$go" test "$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null
  done
done
