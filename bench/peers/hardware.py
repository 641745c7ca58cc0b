"""How fast PyTorch multiplies matrices here, in the precision asked for, and reads memory: part of the hardware's limit."""
import time

from common import arguments, report, torch_with

args = arguments()
torch = torch_with(args)
dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32


def best(work, repeats=6) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


series = {}
with torch.no_grad():
    for rows, inner, columns in [(2048, 512, 2048), (2048, 1024, 4096), (2048, 2048, 2048)]:
        x, weights = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        series[f"{rows} x {inner} x {columns}"] = [best(lambda: torch.nn.functional.linear(x, weights))]
    values = torch.ones(1 << 26)
    series["read 256 MiB"] = [best(lambda: values.sum())]
report(series, ["torch"])
