"""From the start of Python to the first result: a first training step, or one second of audio, of a tiny AudioCraft MusicGen.

The model is built directly, without a config, a data set or a checkpoint, all of which our own command has to read: the figure
flatters the peer.
"""
import os
import subprocess
import sys

from common import arguments, peak_bytes, report, timed, torch_with
from musicgen import SIZES, audiocraft_lm, conditions

SELF = [sys.executable, *sys.argv]
args = arguments(*SIZES, once=["no", "train", "generate"])


def first_step(torch):
    from audiocraft.solvers.musicgen import MusicGenSolver

    model = audiocraft_lm(args).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    codes = torch.randint(0, args.card, (args.batch, 4, args.frames))
    embedded = model.condition_provider({"description": conditions(torch, args.batch, args.positions)})
    output = model.compute_predictions(codes, [], embedded)
    loss, _ = MusicGenSolver._compute_cross_entropy(None, output.logits, codes, output.mask)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def first_audio(torch):
    from audiocraft.models.encodec import EncodecModel
    from audiocraft.modules.conditioners import ConditioningAttributes
    from audiocraft.modules.seanet import SEANetDecoder, SEANetEncoder
    from audiocraft.quantization.vq import ResidualVectorQuantizer

    model = audiocraft_lm(args).eval()
    vectors, mask = conditions(torch, 1, args.positions)
    rows = torch.cat([vectors, torch.zeros_like(vectors)]), torch.cat([mask, torch.zeros_like(mask)])
    model.condition_provider.tokenize = lambda attributes: {"description": rows}
    shape = dict(channels=1, dimension=32, n_filters=4, n_residual_layers=1, ratios=[8, 5, 4, 4])
    quantizer = ResidualVectorQuantizer(dimension=32, n_q=4, bins=args.card, kmeans_init=False)
    codec = EncodecModel(SEANetEncoder(**shape), SEANetDecoder(**shape), quantizer, 25, 16000, 1)
    with torch.no_grad():
        sample = ConditioningAttributes(text={"description": "text"})
        codes = model.generate(conditions=[sample], max_gen_len=25, use_sampling=True, top_k=250, cfg_coef=3.0)
        codec.eval().decode(codes)


if args.once != "no":
    torch = torch_with(args)
    (first_step if args.once == "train" else first_audio)(torch)
    sys.stdout.write(str(peak_bytes()))
    sys.stdout.flush()
    os._exit(0)

peaks = []


def run(what: str) -> None:
    done = subprocess.run([*SELF, "--once", what], check=True, capture_output=True, text=True)
    peaks.append(int(done.stdout.split()[-1]))


series = {"train": timed(lambda: run("train"), args), "generate": timed(lambda: run("generate"), args)}
report(series, ["torch", "audiocraft"], peakOfChildren=max(peaks))
