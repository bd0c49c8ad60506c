#!/bin/sh
# Lays out the image's root: the program, the few libraries it is linked with (a static one has none), and the empty
# folders that volumes are mounted on, so that they belong to the node's user.
# Usage: assemble.sh PROGRAM ROOT
set -eu
program=$1
root=$2
mkdir -p "$root/node" "$root/swarm/charter"
for name in ada bela chidi dana emre node6; do mkdir -p "$root/swarm/nodes/$name"; done
cp "$program" "$root/starling"
# ldd fails on a static program; then there is nothing to copy.
for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | sort -u || true); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
