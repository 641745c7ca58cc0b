"""Checks that the exports of a trained codec load in transformers 4.57 and audiocraft 1.3, and code and decode as here.

    npm run export -- SIG --format hf --out FOLDER/hf
    npm run export -- SIG --format audiocraft --out FOLDER/ac
    node --import tsx test/peers/code_clip.ts //sig/SIG FOLDER/ours
    python check_codec.py FOLDER

Prints a line per comparison, and the SI-SNR of every program's reconstruction; the exit code is 1 when one differs.
"""
import sys
from pathlib import Path

import numpy as np
import torch

folder = Path(sys.argv[1])
read = lambda name, dtype: torch.from_numpy(np.fromfile(folder / "ours" / name, dtype))
wav = read("wav.f32", "<f4")[None, None]
decoded = read("decoded.f32", "<f4")[None, None]
codes = read("codes.i32", "<i4").long()
failed = False


def si_snr(estimate):
    estimate, target = estimate[..., :wav.shape[-1]] - estimate.mean(), wav - wav.mean()
    projection = (estimate * target).sum() / (target ** 2).sum() * target
    return 10 * torch.log10((projection ** 2).sum() / ((estimate - projection) ** 2).sum()).item()


def compare(program, their_codes, their_wav):
    global failed
    same = (their_codes.reshape(-1) == codes.reshape(-1)).float().mean().item()
    error = (their_wav - decoded).abs().max().item()
    failed = failed or same < 1 or error > 1e-4
    print(f"{program}: codes equal {same:.2%}, largest difference of samples {error:.1e}, SI-SNR {si_snr(their_wav):.3f} dB")


print(f"here: {codes.numel()} codes, SI-SNR {si_snr(decoded):.3f} dB")
with torch.no_grad():
    from transformers import EncodecModel
    hf, info = EncodecModel.from_pretrained(folder / "hf", output_loading_info=True)
    assert not any(info.values()), info
    theirs = hf.eval().encode(wav, bandwidth=hf.config.target_bandwidths[-1])
    ours = codes.reshape(1, 1, theirs.audio_codes.shape[2], -1)
    compare("transformers", theirs.audio_codes, hf.decode(ours, [None]).audio_values)

    from audiocraft.models import CompressionModel
    ac = CompressionModel.get_pretrained(str(folder / "ac" / "compression_state_dict.bin"), device="cpu")
    their_codes, scale = ac.encode(wav)
    compare("audiocraft", their_codes, ac.decode(ours[0], scale))
sys.exit(1 if failed else 0)
