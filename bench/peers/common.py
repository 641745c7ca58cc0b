"""What all peers' measurements share: arguments, threads, precision, timing, and the JSON line at the end.

A script measures one thing in its own process and prints as its last line
    {"series": {name: [seconds, ...]}, "peakBytes": n, "facts": {...}, "versions": {...}}
which is what our own measuring processes print, too (src/bench/measurement.ts).
"""
import argparse
import importlib.metadata
import json
import os
import time
import warnings

warnings.filterwarnings("ignore")


def arguments(*numbers: str, **choices) -> argparse.Namespace:
    """Parses --threads, --precision, --runs, --warmup, one integer option per name, and options with choices."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    for name in numbers:
        parser.add_argument(f"--{name}", type=int, required=True)
    for name, values in choices.items():
        if isinstance(values, list):
            parser.add_argument(f"--{name}", choices=values, default=values[0])
        else:
            parser.add_argument(f"--{name.replace('_', '-')}", default=values)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    return args


def torch_with(args):
    """PyTorch with the threads asked for and a fixed seed."""
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return torch


def autocast(torch, args):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16")


def timed(work, args) -> list[float]:
    """Seconds of each run of `work` after the warm-up."""
    seconds = []
    for run in range(args.warmup + args.runs):
        began = time.perf_counter()
        work()
        if run >= args.warmup:
            seconds.append(time.perf_counter() - began)
    return seconds


def peak_bytes() -> int:
    """The most memory that this process has held (VmHWM)."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def report(series: dict[str, list[float]], packages: list[str], **facts) -> None:
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({"series": series, "peakBytes": peak_bytes(), "facts": facts, "versions": versions}))


def size_of(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
