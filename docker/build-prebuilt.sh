#!/usr/bin/env bash
# Builds the image from a program made on this machine: needs cargo and docker, but no registry.
# STARLING_IMAGE names another tag, STARLING_BINARY a program that is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
image=${STARLING_IMAGE:-starling/node:dev}
binary=${STARLING_BINARY:-}
if [ -z "$binary" ]; then
    cargo build --release --locked -p starling-node --bin starling
    binary=${CARGO_TARGET_DIR:-target}/release/starling
fi
rm -rf docker/dist
docker/assemble.sh "$binary" docker/dist/root
strip docker/dist/root/starling 2>/dev/null || true
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build -q -f docker/Dockerfile.prebuilt -t "$image" . >/dev/null
docker image inspect -f '{{index .RepoTags 0}}  {{.Size}} bytes' "$image"
