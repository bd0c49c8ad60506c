#!/usr/bin/env bash
# Builds the image starling/node:dev from a binary linked on this machine. Needs cargo and docker, but no registry.
# CARGO may name another way to call cargo; STARLING_IMAGE another tag; STARLING_PROFILE another build profile.
set -euo pipefail
cd "$(dirname "$0")/.."
image=${STARLING_IMAGE:-starling/node:dev}
profile=${STARLING_PROFILE:-release}
host=$(rustc -vV | sed -n 's/^host: //p')
folder=$profile
[ "$profile" = dev ] && folder=debug

# --target keeps procedural macros dynamic while the program itself is static.
RUSTFLAGS="-C target-feature=+crt-static" ${CARGO:-cargo} build --profile "$profile" --locked \
    -p starling-node --bin starling --target "$host"

root=docker/dist/root
rm -rf docker/dist
mkdir -p $root/node $root/swarm/charter
for name in ada bela chidi dana emre; do mkdir -p $root/swarm/nodes/$name; done
cp "${CARGO_TARGET_DIR:-target}/$host/$folder/starling" $root/starling
strip $root/starling
# A static program looks for nothing: if it has an interpreter after all, it would not start in an empty image.
if readelf -l $root/starling | grep -q INTERP; then
    echo "error: the program is not static; was RUSTFLAGS overridden?" >&2
    exit 1
fi
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build -q -f docker/Dockerfile.prebuilt -t "$image" . >/dev/null
docker image inspect -f '{{index .RepoTags 0}}  {{.Size}} bytes' "$image"
