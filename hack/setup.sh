#!/usr/bin/env bash
# Brings a fresh Debian machine with Go, Python, Node and apt to where every
# make target works: installs what is missing, and starts Docker where none
# runs. What is there already is left as it is.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

need() { # need COMMAND PACKAGE: note the package when the command is missing
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

# Debian 12's own Go is too old to fetch the one that go.mod names.
command -v go >/dev/null 2>&1 || {
  echo "setup: go is missing; install Go 1.26 from https://go.dev/dl and run again." >&2
  exit 4
}
missing=()
need gcc gcc
need git git
if ((${#missing[@]})); then
  sudo=(); ((EUID == 0)) || sudo=(sudo)
  echo "setup: installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev
fi

for tool in python3 node npm; do
  command -v "$tool" >/dev/null 2>&1 || {
    echo "setup: $tool is missing. Without a container registry, kfdev builds images from packages and needs it; install it and run again." >&2
    exit 4
  }
done

exec "$here/docker-start.sh"
