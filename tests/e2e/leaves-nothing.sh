#!/bin/sh
# Runs a command, and fails when that leaves something on the machine: servers, containers, mounts, links,
# network namespaces, control groups, folders.
#
#   leaves-nothing.sh COMMAND...
set -eu

servers='containerd|containerd-shim.*|runc|busybox|kubelet|etcd|kube-.*|multus|ip-reconciler|whereabouts.*'

state() {
  for process in /proc/[0-9]*; do
    program=$(readlink "$process/exe") || continue
    basename "$program" | grep -xE "$servers" | sed "s,^,process ${process#/proc/} ," || continue
  done
  cut -d ' ' -f 2 /proc/self/mounts | sed 's,^,mount ,'
  ip -oneline link | cut -d : -f 2 | sed 's,^,link,'
  ip netns list | sed 's,^,network namespace ,'
  find /sys/fs/cgroup -type d -name 'whereabouts-e2e-*' | sed 's,^,control group ,'
  find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'whereabouts-*' | sed 's,^,folder ,'
}

before=$(mktemp)
after=$(mktemp)
trap 'rm -f "$before" "$after"' EXIT
state | sort >"$before"
code=0
"$@" || code=$?
# What ends with a process takes a moment.
for _ in $(seq 30); do
  state | sort >"$after"
  left=$(comm -13 "$before" "$after")
  [ -n "$left" ] || exit "$code"
  sleep 1
done
echo "Left behind:
$left" >&2
exit 1
