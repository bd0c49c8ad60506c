#!/usr/bin/env python3
"""A slow and lossy link between two network namespaces, without the kernel's netem.

    tests/shaped_link.py --delay-ms 100 --mbit 100 --loss 0.01 [--congestion bbr] -- COMMAND ...

makes the namespaces NEAR (10.77.0.1) and FAR (10.77.0.2), each with a TUN device, joins them, runs COMMAND inside NEAR
with the word {far} replaced by FAR's name, and removes everything. `--delay-ms` is the round trip; `--loss` the
probability that a packet is lost, in each direction. A direction holds at most a round trip's worth of bytes and 256 KiB,
and drops what comes beyond, as a router does. Needs root, `ip` and /dev/net/tun. Good to about 200 Mbit/s.
"""

import argparse
import collections
import ctypes
import fcntl
import os
import random
import selectors
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000


def run(*words):
    subprocess.run(words, check=True)


def device(namespace, mine, other, congestion):
    """A TUN device inside a namespace; whoever opened it keeps it, wherever he is."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}

    def inside():
        with open(f"/var/run/netns/{namespace}") as place:
            if libc.setns(place.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"link0", IFF_TUN | IFF_NO_PI))
        found["tun"] = tun

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    run("ip", "-n", namespace, "addr", "add", f"{mine}/32", "dev", "link0")
    run("ip", "-n", namespace, "link", "set", "link0", "mtu", "1500", "txqueuelen", "1000", "up")
    run("ip", "-n", namespace, "link", "set", "lo", "up")
    route = ["ip", "-n", namespace, "route", "add", other, "dev", "link0"]
    run(*route, *(["congctl", congestion] if congestion else []))
    return found["tun"]


class Direction:
    """Packets on their way from one device to the other."""

    def __init__(self, source, sink, delay, rate, loss, rng):
        self.source, self.sink, self.delay, self.rate, self.loss, self.rng = source, sink, delay, rate, loss, rng
        self.room = 2 * delay * rate + (256 << 10)
        self.free_at, self.held, self.queue = 0.0, 0, collections.deque()
        self.lost = self.dropped = self.passed = 0

    def take(self, now):
        for _ in range(64):
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            if self.rng.random() < self.loss:
                self.lost += 1
            elif self.held + len(packet) > self.room:
                self.dropped += 1
            else:
                self.held += len(packet)
                self.free_at = max(self.free_at, now) + len(packet) / self.rate
                self.queue.append((self.free_at + self.delay, packet))

    def give(self, now):
        while self.queue and self.queue[0][0] <= now:
            _, packet = self.queue.popleft()
            self.held -= len(packet)
            self.passed += 1
            try:
                os.write(self.sink, packet)
            except (BlockingIOError, OSError):
                self.dropped += 1

    def due(self):
        return self.queue[0][0] if self.queue else None


def carry(directions, stop):
    watch = selectors.DefaultSelector()
    for direction in directions:
        watch.register(direction.source, selectors.EVENT_READ, direction)
    while not stop.is_set():
        now = time.monotonic()
        due = [d.due() for d in directions if d.due() is not None]
        wait = max(0.0, min(due) - now) if due else 0.2
        for key, _ in watch.select(min(wait, 0.2)):
            key.data.take(time.monotonic())
        now = time.monotonic()
        for direction in directions:
            direction.give(now)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--congestion", default="")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    command = [word for word in args.command if word != "--"]
    near, far = f"near{os.getpid()}", f"far{os.getpid()}"
    stop = threading.Event()
    try:
        run("ip", "netns", "add", near)
        run("ip", "netns", "add", far)
        tuns = [device(near, "10.77.0.1", "10.77.0.2", args.congestion)]
        tuns.append(device(far, "10.77.0.2", "10.77.0.1", args.congestion))
        rng = random.Random(args.seed)
        terms = (args.delay_ms / 2000, args.mbit * 125_000, args.loss, rng)
        directions = [Direction(*tuns, *terms), Direction(*reversed(tuns), *terms)]
        carrier = threading.Thread(target=carry, args=(directions, stop))
        carrier.start()
        words = [word.replace("{far}", far) for word in command]
        code = subprocess.run(["ip", "netns", "exec", near, *words]).returncode
        stop.set()
        carrier.join()
        for name, direction in zip(("near to far", "far to near"), directions):
            print(f"{name:20} {direction.passed} packets, {direction.lost} lost, {direction.dropped} beyond the queue")
        return code
    finally:
        stop.set()
        for namespace in (near, far):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
