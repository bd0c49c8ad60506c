#!/usr/bin/env python3
"""How much of their time nodes compute, over a link that is slow, far and lossy, or over none.

    tests/utilization.py PROGRAM FOLDER                                      # all on loopback
    tests/shaped_link.py --delay-ms 100 --mbit 100 --loss 0.01 -- \\
        tests/utilization.py PROGRAM FOLDER --far {far}                      # every second node beyond the link

prepares a testnet in FOLDER, which must not exist, runs its nodes to the end, each with one thread, and reads what they
measured (`metrics.jsonl`): of the wall time of complete outer steps, from one mix to the next, the share spent in inner
training, in computing (training, encoding, mixing, evaluating), in waiting for peers at earlier steps and in pulling; the rest
is saving. Shards that are mixed while others are under way count as mixing and as pulling; with --overlap so does training while a node waits or
pulls. With more nodes than processors the shares of training are too
high, because a node that waits for a processor seems to train. PROGRAM is a `starling` that was built.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

PARTS = ("train_seconds", "encode_seconds", "mix_seconds", "evaluate_seconds", "wait_seconds", "pull_seconds")


def measured(path):
    """Seconds by name for each outer step of a node that has its wall time; the last value stands."""
    steps = {}
    for line in path.read_text().splitlines():
        metric = json.loads(line)
        if metric["name"] in (*PARTS, "outer_seconds"):
            # An evaluation follows the mix of its outer step, so its time lies in the next one.
            outer = metric["outer"] + (metric["name"] == "evaluate_seconds")
            steps.setdefault(outer, {})[metric["name"]] = metric["value"]
    return {outer: found for outer, found in steps.items() if "outer_seconds" in found}


def shares(steps):
    wall = sum(step["outer_seconds"] for step in steps)
    sums = [sum(step.get(part, 0.0) for step in steps) for part in PARTS]
    train, encode, mix, evaluate, wait, pull = (100 * part / wall if wall else float("nan") for part in sums)
    return wall, train, train + encode + mix + evaluate, wait, pull


def line(name, steps):
    wall, train, busy, wait, pull = shares(steps)
    return f"{name:<22}{len(steps):>6}{wall:>9.1f} s{train:>9.1f} %{busy:>9.1f} %{wait:>9.1f} %{pull:>9.1f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--far", default="", help="network namespace of every second node")
    parser.add_argument("--recipe", default="ner")
    parser.add_argument("--data", help="data of your own instead of the built-in corpus")
    parser.add_argument("--base", help="trained encoder to start from")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--outer-steps", type=int, default=40)
    parser.add_argument("--inner-steps", type=int)
    parser.add_argument("--overlap", action="store_true", help="train the next step while updates travel")
    args = parser.parse_args()
    program = str(pathlib.Path(args.program).resolve())
    words = ["testnet", "--prepare-only", "--recipe", args.recipe, "--nodes", str(args.nodes)]
    words += ["--outer-steps", str(args.outer_steps), "--dir", str(args.folder)]
    words += ["--data", args.data] if args.data else []
    words += ["--base", args.base] if args.base else []
    words += ["--inner-steps", str(args.inner_steps)] if args.inner_steps else []
    words += ["--overlap"] if args.overlap else []
    subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)
    homes = sorted((args.folder / "nodes").iterdir())
    environment = {**os.environ, "STARLING_TRAIN_THREADS": "1", "STARLING_HTTP_LISTEN": ""}
    children, bootstrap = [], []
    try:
        for place, home in enumerate(homes):
            is_far = bool(args.far) and place % 2 == 1
            host = ("10.77.0.2" if is_far else "10.77.0.1") if args.far else "127.0.0.1"
            address = f"/ip4/{host}/tcp/{7301 + place}"
            command = ["ip", "netns", "exec", args.far] if is_far else []
            command += [program, "run", "--dir", str(home), "--listen", address, *bootstrap]
            command += ["--wait-links", "1", "--wait-seconds", "30", "--until-done"]
            with open(args.folder / f"{home.name}.log", "w") as log:
                child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            children.append(child)
            bootstrap = bootstrap or ["--bootstrap", address]
        codes = [child.wait() for child in children]
    finally:
        for child in children:
            child.terminate()
            child.wait()
    if any(codes):
        print(f"error: nodes ended with {codes}; see {args.folder}/*.log", file=sys.stderr)
        return 1
    heads = ("training", "computing", "waiting", "pulling")
    print(f"{'node':<22}{'steps':>6}{'wall':>11}" + "".join(f"{head:>11}" for head in heads))
    everything = []
    for home in homes:
        steps = list(measured(home / "metrics.jsonl").values())
        everything += steps
        print(line(home.name, steps))
    print(line("all", everything))
    print(line("all, settling left out", [step for step in everything if "train_seconds" in step]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
