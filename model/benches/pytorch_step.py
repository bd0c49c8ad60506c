"""One training step here against PyTorch eager: same weights, same batches, alternating short bursts.

    cargo build --release -p starling-model --example step_time
    python model/benches/pytorch_step.py target/release/examples/step_time [minilm|small] [threads] [bursts]

Needs torch, transformers, safetensors. Prints losses of the first steps from both programs, the median wall time and
CPU time of a step, their ratios, and the peak memory of each process. The machine may be shared: trust the ratios, and
set OMP_WAIT_POLICY=PASSIVE with more than one thread, else PyTorch's idle threads burn the time they wait for.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from transformers import BertForTokenClassification

ROWS, WIDTH, LABELS = 16, 64, 9


def splitmix64(x):
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def batch(number, vocabulary):
    draw = splitmix64(np.arange(ROWS * WIDTH, dtype=np.uint64) + np.uint64(number << 32))
    ids = (draw % np.uint64(vocabulary)).astype(np.int64).reshape(ROWS, WIDTH)
    tags = ((draw >> np.uint64(32)) % np.uint64(LABELS)).astype(np.int64).reshape(ROWS, WIDTH)
    return torch.from_numpy(ids), torch.from_numpy(tags)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


class Ours:
    def __init__(self, program, folder, size, threads):
        self.process = subprocess.Popen([program, folder, size, str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"
        self.pid = self.process.pid

    def burst(self, steps):
        before = cpu_seconds(self.pid)
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        taken = json.loads(self.process.stdout.readline())
        return taken, (cpu_seconds(self.pid) - before) / steps


class Torch:
    def __init__(self, folder, threads, attention, fused):
        torch.set_num_threads(threads)
        self.model = BertForTokenClassification.from_pretrained(folder, attn_implementation=attention)
        self.model.train()
        self.vocabulary = self.model.config.vocab_size
        decays = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() == 1]
        groups = [{"params": decays, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=fused)
        self.number = 0
        self.pid = os.getpid()

    def burst(self, steps):
        before = cpu_seconds(self.pid)
        taken = []
        for _ in range(steps):
            ids, tags = batch(self.number, self.vocabulary)
            self.number += 1
            start = time.perf_counter()
            self.optimizer.zero_grad()
            loss = self.model(input_ids=ids, labels=tags).loss
            loss.backward()
            self.optimizer.step()
            taken.append((time.perf_counter() - start, loss.item()))
        return taken, (cpu_seconds(self.pid) - before) / steps


def main():
    program = sys.argv[1]
    size = sys.argv[2] if len(sys.argv) > 2 else "minilm"
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    bursts = int(sys.argv[4]) if len(sys.argv) > 4 else 8
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(program, folder, size, threads)
        config = pathlib.Path(folder) / "config.json"
        text = json.loads(config.read_text())
        text.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        config.write_text(json.dumps(text))
        rivals = {
            "starling": ours,
            "pytorch eager": Torch(folder, threads, "eager", None),
            "pytorch sdpa, fused": Torch(folder, threads, "sdpa", True),
        }
        walls, cpus = {name: [] for name in rivals}, {name: [] for name in rivals}
        for name, rival in rivals.items():
            taken, _ = rival.burst(3)
            print(f"{name:20} first losses", " ".join(f"{loss:.6f}" for _, loss in taken))
        for _ in range(bursts):
            for name, rival in rivals.items():
                taken, cpu = rival.burst(2)
                walls[name] += [seconds for seconds, _ in taken]
                cpus[name].append(cpu)
        base_wall = statistics.median(walls["pytorch eager"])
        base_cpu = statistics.median(cpus["pytorch eager"])
        for name in rivals:
            wall, cpu = statistics.median(walls[name]), statistics.median(cpus[name])
            best = min(walls[name]) / min(walls["pytorch eager"])
            print(f"{name:20} wall {wall * 1000:7.1f} ms ({wall / base_wall:.2f}, best step {best:.2f})  "
                  f"cpu {cpu * 1000:7.1f} ms ({cpu / base_cpu:.2f})")
        print(f"peak memory: starling {peak_megabytes(ours.pid):.0f} MB, "
              f"both pytorch models in one process {peak_megabytes(os.getpid()):.0f} MB")


if __name__ == "__main__":
    main()
