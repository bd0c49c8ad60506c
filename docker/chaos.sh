#!/usr/bin/env bash
# Five real containers on a private network, and what may happen to them: pause, kill, disconnect, partition, slow down,
# restart one by one. After each, everybody must be linked with everybody again and finish two outer steps more. Takes
# some minutes.
#
# Needs docker and the image (docker/build-prebuilt.sh, or STARLING_IMAGE); without docker it says so and ends well, so
# that it can be called everywhere. Ends with the time from `up` to the first mixed outer step of every node.
set -euo pipefail
cd "$(dirname "$0")"

if ! docker info >/dev/null 2>&1; then echo "skipped: no docker engine here"; exit 0; fi
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
command -v "${compose[0]}" >/dev/null || { echo "skipped: no docker compose here"; exit 0; }
export STARLING_IMAGE=${STARLING_IMAGE:-starling/node:dev}
if ! docker image inspect "$STARLING_IMAGE" >/dev/null 2>&1; then
    echo "skipped: no image $STARLING_IMAGE; make it with docker/build-prebuilt.sh"
    exit 0
fi
export STARLING_DOCKERFILE=Dockerfile.prebuilt STARLING_OUTER_STEPS=${STARLING_OUTER_STEPS:-100000}
project=starling-chaos
compose+=(-p $project -f compose.yaml)
nodes=(ada bela chidi dana emre)
network=${project}_swarm
started=$SECONDS

box() { "${compose[@]}" ps -q "$1"; }
declare -A id
finish() {
    local code=$?
    if [ $code -ne 0 ]; then
        for n in "${nodes[@]}"; do echo "--- $n"; docker logs --tail 5 "${id[$n]:-none}" 2>&1 || true; done
    fi
    "${compose[@]}" down -v -t 15 >/dev/null 2>&1 || true
    docker network rm $project-aside >/dev/null 2>&1 || true
    exit $code
}
trap finish EXIT

# One field of a node's status; empty while it does not answer.
field() {
    { docker exec "${id[$1]}" /starling --format json status 2>/dev/null || true; } \
        | sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p"
}
# Waits until every named node is at or beyond an outer step, with at least so many links.
await() {
    local step=$1 links=$2 limit=$((SECONDS + ${LIMIT:-90})); shift 2
    for n in "$@"; do
        while :; do
            local at; at=$(field "$n" outer_step)
            local up; up=$(field "$n" peers)
            if [ "${at:-0}" -ge "$step" ] && [ "${up:-0}" -ge "$links" ]; then break; fi
            if [ $SECONDS -ge $limit ]; then
                echo "FAILED: $n stands at outer step ${at:-none} with ${up:-none} links; expected $step with $links" >&2
                return 1
            fi
            sleep 0.5
        done
    done
}
highest() { for n in "$@"; do field "$n" outer_step; done | sort -n | tail -1; }
# Everybody is linked to all others, and then finishes two outer steps more than it had: a node that trained alone may
# be ahead of the others, so each counts from its own.
recover() {
    local healed=$SECONDS n; local -A from
    await 0 4 "${nodes[@]}"
    local linked=$((SECONDS - healed))
    for n in "${nodes[@]}"; do from[$n]=$(field "$n" outer_step); done
    for n in "${nodes[@]}"; do await $((from[$n] + 2)) 4 "$n"; done
    echo "ok       $1: linked after $linked s, all five two steps further after $((SECONDS - healed)) s"
}
# The named nodes advance while the others are in trouble.
advance() {
    local why=$1; shift
    local from; from=$(highest "$@")
    await $((from + 2)) 0 "$@"
    echo "ok       $why: $* advance"
}

"${compose[@]}" down -v -t 1 >/dev/null 2>&1 || true
up=$(date +%s%N)
"${compose[@]}" up -d --no-build >/dev/null 2>&1
for n in "${nodes[@]}"; do id[$n]=$(box "$n"); done
await 1 0 "${nodes[@]}"
echo "ok       up: every node has mixed its first outer step after $(( ($(date +%s%N) - up) / 1000000 )) ms"
recover "start"

docker pause "${id[ada]}" >/dev/null
advance "ada paused" bela chidi dana emre
docker unpause "${id[ada]}" >/dev/null
recover "ada goes on"

docker kill -s KILL "${id[bela]}" >/dev/null
advance "bela killed" ada chidi dana emre
docker start "${id[bela]}" >/dev/null
recover "bela is back"

docker network disconnect $network "${id[chidi]}"
advance "chidi without a network" ada bela dana emre
docker network connect --alias chidi $network "${id[chidi]}"
recover "chidi is connected again"

docker network create $project-aside >/dev/null
for n in ada bela; do
    docker network connect --alias $n $project-aside "${id[$n]}"
    docker network disconnect $network "${id[$n]}"
done
advance "cut in two" ada bela
advance "cut in two" chidi dana emre
for n in ada bela; do
    docker network connect --alias $n $network "${id[$n]}"
    docker network disconnect $project-aside "${id[$n]}"
done
recover "the parts are one again"

docker update --cpus 0.1 "${id[dana]}" >/dev/null
advance "dana slowed down" ada bela chidi emre
docker update --cpus 1 "${id[dana]}" >/dev/null
recover "dana is as fast as the others"

for n in "${nodes[@]}"; do docker restart -t 15 "${id[$n]}" >/dev/null; done
recover "all restarted one by one"

for n in "${nodes[@]}"; do
    state=$(docker inspect -f '{{.State.Health.Status}}' "${id[$n]}")
    [ "$state" = healthy ] || [ "$state" = starting ] || { echo "FAILED: $n is $state" >&2; exit 1; }
done
echo "all passed in $((SECONDS - started)) s"
