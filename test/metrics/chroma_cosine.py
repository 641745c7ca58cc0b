"""Expected values of chroma_cosine.test.ts by AudioCraft's ChromaCosineSimilarityMetric and kl_divergence."""
import json
import math

import torch
from audiocraft.metrics.chroma_cosinesim import ChromaCosineSimilarityMetric
from audiocraft.metrics.kld import kl_divergence

RATE = 8000
t = torch.arange(8000, dtype=torch.float64) / RATE


def tones(*frequencies):
    """Half a second of each, with an octave above it."""
    sweep = torch.zeros_like(t)
    for i, f in enumerate(frequencies):
        part = (t >= i * 0.5) & (t < (i + 1) * 0.5)
        sweep += part * (torch.sin(2 * math.pi * f * t) * 0.5 + torch.sin(4 * math.pi * f * t) * 0.2)
    return sweep.float()


preds = torch.stack([tones(440, 660), tones(262, 330)])[:, None]
targets = torch.stack([tones(440, 523.25), tones(294, 330)])[:, None]
sizes = torch.tensor([8000, 5200])
results = {}
for argmax in (True, False):
    metric = ChromaCosineSimilarityMetric(RATE, 12, 10, argmax)
    metric.update(preds, targets, sizes, torch.tensor([RATE, RATE]))
    results[f"argmax={argmax}".lower()] = metric.compute()
p = torch.tensor([[0.7, 0.2, 0.1, 0.0]])
q = torch.tensor([[0.1, 0.0, 0.6, 0.3]])
results["kl"] = [kl_divergence(p, q).item(), kl_divergence(q, p).item()]
print(json.dumps(results))
