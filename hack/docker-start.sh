#!/usr/bin/env bash
# Makes sure that a Docker daemon answers. One that already does is never
# touched. Where none runs: the packages are installed when they are missing
# (Debian), and the daemon is started, by systemd where that runs the machine,
# else detached from this script, with a log of its own.
#
#   hack/docker-start.sh [--log FILE] [--wait SECONDS]
#
# Where the machine lacks CAP_SYS_RESOURCE, privileged containers cannot start
# as Docker asks for them; then the daemon gets hack/runc-without as its
# default runtime.
set -euo pipefail

log=/var/log/kfdev-dockerd.log
wait_seconds=90
while [ $# -gt 0 ]; do
  case "$1" in
    --log) log=$2; shift 2 ;;
    --wait) wait_seconds=$2; shift 2 ;;
    *) echo "usage: docker-start.sh [--log FILE] [--wait SECONDS]" >&2; exit 2 ;;
  esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lib=/usr/local/lib/kfdev
export PATH=$PATH:/usr/sbin:/sbin

say() { echo "docker-start: $*" >&2; }
die() { say "$1"; [ -z "${2:-}" ] || echo "hint: $2" >&2; exit 4; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null || die "starting Docker takes root, and there is no sudo" "start the Docker daemon, then run this again"
  sudo -n "$@" || die "sudo $1 failed" "start the Docker daemon, then run this again"
}

# answers is true when a daemon answers the way this user reaches it.
answers() { command -v docker >/dev/null && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# is_process FILE NAME is true when the pid in FILE is a live process of that
# name. After a reboot or a crash the number may belong to anything; one that
# was killed and that nobody has waited for (a zombie) is not alive.
is_process() {
  local pid
  pid=$(as_root cat "$1" 2>/dev/null | tr -dc 0-9) || return 1
  [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
    ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null
}

install_packages() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io)
  command -v iptables >/dev/null || missing+=(iptables)
  command -v docker >/dev/null || missing+=(docker.io)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "no Docker on this machine, and no apt-get to install it with" "install Docker, then run this again"
  say "installing ${missing[*]}"
  # The packages' own scripts must not start a daemon: it is started below.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e /run/systemd/system ] && [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    made=1
  fi
  local rc=0
  { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"; } >&2 || rc=$?
  [ -z "$made" ] || as_root rm -f $policy
  [ $rc = 0 ] || die "installing ${missing[*]} failed" "install Docker by hand, then run this again"
}

# lacks_resource is true when the bounding set lacks CAP_SYS_RESOURCE (bit 24).
lacks_resource() {
  local set
  set=$(as_root awk '/^CapBnd/ {print $2}' /proc/self/status)
  [ $((0x$set >> 24 & 1)) = 0 ]
}

wrapper() {
  lacks_resource || return 0
  command -v go >/dev/null || die "this machine lacks CAP_SYS_RESOURCE, and there is no Go to build the runtime wrapper with" "put go on PATH"
  local tmp
  tmp=$(mktemp -d)
  (cd "$here/.." && CGO_ENABLED=0 GOFLAGS= GOWORK=off go build -trimpath -buildvcs=false -o "$tmp/runc-without" ./hack/runc-without) >&2
  as_root install -D -m 755 "$tmp/runc-without" "$lib/runc-without"
  rm -r "$tmp"
  echo "--add-runtime runc-without=$lib/runc-without --default-runtime runc-without"
}

# sweep takes out what a daemon that was killed leaves behind and what a new
# one would trip over: pid files whose number is another process's by now.
sweep() {
  is_process /var/run/docker.pid dockerd || as_root rm -f /var/run/docker.pid /var/run/docker.sock
  is_process /run/docker/containerd/containerd.pid containerd ||
    as_root rm -f /run/docker/containerd/containerd.pid /run/docker/containerd/containerd.sock \
      /run/docker/containerd/containerd.sock.ttrpc /run/docker/containerd/containerd-debug.sock
}

start() {
  if [ -d /run/systemd/system ]; then
    lacks_resource && say "this machine lacks CAP_SYS_RESOURCE and is run by systemd: privileged containers may not start"
    as_root systemctl start docker
    return
  fi
  local options
  options=$(wrapper)
  sweep
  say "starting dockerd, log in $log"
  # Nothing of ours may stay open in the daemon: whoever waits for the end of
  # our output would wait for the daemon's.
  # shellcheck disable=SC2086  # the options are words
  as_root setsid --fork sh -c 'log=$1; shift; exec dockerd "$@" >>"$log" 2>&1 </dev/null 9>&-' sh "$log" $options >/dev/null 2>&1 </dev/null 9>&-
}

if answers; then exit 0; fi
if [ -n "${DOCKER_HOST:-}" ]; then
  die "no Docker daemon answers at DOCKER_HOST=$DOCKER_HOST" "start it, or unset DOCKER_HOST"
fi

# One start at a time; the second waits, and finds the daemon running.
exec 9>"${TMPDIR:-/tmp}/kfdev-docker-start.$(id -u).lock"
flock -w "$wait_seconds" 9 || die "another docker-start is still running after ${wait_seconds} s"
if answers; then exit 0; fi

install_packages
if ! is_process /var/run/docker.pid dockerd; then start; fi
deadline=$((SECONDS + wait_seconds))
until answers; do
  [ $SECONDS -lt $deadline ] || {
    as_root tail -n 15 "$log" >&2 2>/dev/null || true
    die "dockerd does not answer after ${wait_seconds} s" "its log is $log; a user who is not root must be in the group docker"
  }
  sleep 0.3
done
say "Docker $(docker version --format '{{.Server.Version}}') answers"
