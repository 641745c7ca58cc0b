"""Expected values of vggish.test.ts by torchaudio's VGGishInputProcessor."""
import json

import torch
from torchaudio.prototype.pipelines._vggish._vggish_impl import VGGishInputProcessor

i = torch.arange(36000, dtype=torch.float64)
wav = (0.5 * torch.sin(i * i * 2e-5) + 0.1 * torch.sin(i * 0.3)).float()
examples = VGGishInputProcessor()(wav).flatten(1)
print(json.dumps({"examples": len(examples), "values": [row[::509].tolist() for row in examples]}))
