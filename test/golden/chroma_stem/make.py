"""Makes chroma.safetensors: AudioCraft's ChromaStemConditioner and fuser without Demucs (the mix stands for the stems).

Run with audiocraft 1.3.0, torch 2.8.0, librosa 0.11.0: python make.py
"""
import sys
import types

import torch
from safetensors.torch import save_file


class NoDemucs:
    sources = ["drums", "bass", "other", "vocals"]

    def to(self, device):
        return self


demucs = types.ModuleType("demucs")
demucs.pretrained = types.ModuleType("demucs.pretrained")
demucs.pretrained.get_model = lambda name: NoDemucs()
sys.modules |= {"demucs": demucs, "demucs.pretrained": demucs.pretrained}

from audiocraft.modules.conditioners import (  # noqa: E402
    ChromaStemConditioner,
    ConditionFuser,
    ConditioningAttributes,
    ConditioningProvider,
    LUTConditioner,
    WavCondition,
)

RATE, DIM, HOP = 16000, 8, 256
torch.manual_seed(7)
out = {}


def tones(seconds, channels, frequencies):
    t = torch.arange(int(seconds * RATE)) / RATE
    rows = [sum(torch.sin(2 * torch.pi * f * (1 + 0.3 * c) * t * (1 + 0.2 * t)) for f in frequencies) for c in range(channels)]
    return (0.2 * torch.stack(rows) + 0.01 * torch.randn(channels, len(t)))[None]


def condition(wav, seek=None):
    return WavCondition(wav, torch.tensor([wav.shape[-1]]), [RATE], [None], [seek])


null = WavCondition(torch.zeros(1, 1, 1), torch.tensor([0]), [RATE], [None], [None])
long, short = tones(0.25, 2, [220, 330]), tones(0.1, 1, [440])
out["long"], out["short"] = long, short
rows = {
    "mixed": [condition(long), condition(short), null],
    "one_short": [condition(short)],
    "null": [null, null],
}
texts = ["rock", "jazz", None]


class Conditioner(ChromaStemConditioner):
    def _get_stemmed_wav(self, wav, sample_rate):
        return wav


for argmax in (False, True):
    for match in (False, True):
        torch.manual_seed(3)
        chroma = Conditioner(DIM, RATE, 12, 10, duration=0.2, match_len_on_eval=match, argmax=argmax)
        lut = LUTConditioner(16, 4, DIM, "noop", 0)
        provider = ConditioningProvider({"self_wav": chroma, "description": lut}).eval()
        for name, parameter in provider.named_parameters():
            out[f"weights.{name}"] = parameter.data.clone()
        fuser = ConditionFuser({"sum": [], "prepend": ["self_wav", "description"], "cross": [], "input_interpolate": []})
        for batch, wavs in rows.items():
            samples = [
                ConditioningAttributes(text={"description": text}, wav={"self_wav": wav})
                for text, wav in zip(texts, wavs)
            ]
            with torch.no_grad():
                conditions = provider(provider.tokenize(samples))
                fused, _ = fuser(torch.zeros(len(wavs), 2, DIM), conditions)
            key = f"{'argmax' if argmax else 'full'}.{'match' if match else 'own'}.{batch}"
            out[f"{key}.embedding"], mask = conditions["self_wav"]
            out[f"{key}.mask"] = mask.float()
            out[f"{key}.fused"] = fused
        if not match:
            full = chroma._compute_wav_embedding(long.mean(1, keepdim=True), RATE)[0]
            for seek in (0.0, 0.1, 0.2):
                chunk = condition(torch.zeros(1, 1, int(0.1 * RATE)), seek)
                out[f"{'argmax' if argmax else 'full'}.chunk.{seek}"] = chroma._extract_chroma_chunk(full, chunk, 0)

save_file({name: tensor.contiguous().float() for name, tensor in out.items()}, "chroma.safetensors")
