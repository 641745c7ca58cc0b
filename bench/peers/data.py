"""AudioCraft's data set in PyTorch's loader on the files of a manifest: seconds per batch."""
import json
import time

from common import arguments, report, torch_with

args = arguments("workers", "batch", "segments", manifest="")
torch = torch_with(args)
from audiocraft.data.audio_dataset import AudioDataset, AudioMeta  # noqa: E402

with open(args.manifest) as lines:
    files = [json.loads(line) for line in lines]
metas = [AudioMeta(path=file["path"], duration=file["duration"], sample_rate=file["sample_rate"]) for file in files]
per_run = -(-args.segments // args.batch)
warm_up = 8  # batches: what the workers have prefetched by then does not count
dataset = AudioDataset(
    metas, segment_duration=10.0, sample_rate=32000, channels=1, pad=True, return_info=False,
    num_samples=(warm_up + per_run * args.runs) * args.batch,
)
loader = torch.utils.data.DataLoader(
    dataset, batch_size=args.batch, num_workers=args.workers, collate_fn=dataset.collater, shuffle=False,
    worker_init_fn=lambda _: torch.set_num_threads(1),
)
batches = iter(loader)
for _ in range(warm_up):
    next(batches)
seconds = []
for _ in range(args.runs):
    began = time.perf_counter()
    for _ in range(per_run):
        next(batches)
    seconds.append(time.perf_counter() - began)
report({"read": seconds}, ["torch", "audiocraft"], segments=per_run * args.batch)
