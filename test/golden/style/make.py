"""Makes style.safetensors beside this script: a tiny style conditioner on the tiny MERT of ../mert, put together of AudioCraft's
transformer and quantizer: features -> linear -> transformer -> batch norm -> RVQ -> every 15th frame -> output_proj.

    python make.py     # torch, transformers, audiocraft 1.3.0, safetensors
"""
import json
import pathlib

import torch
from audiocraft.modules.transformer import StreamingTransformer
from audiocraft.quantization import ResidualVectorQuantizer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import HubertConfig, HubertModel

here = pathlib.Path(__file__).parent
torch.manual_seed(3)
mert = HubertModel(HubertConfig(**{**json.load(open(here / "../mert/config.json")), "model_type": "hubert"})).eval()
mert.load_state_dict(load_file(here / "../mert/model.safetensors"))

DIM, N_Q, BINS, DS, OUT = 16, 3, 8, 15, 12


class Style(nn.Module):
    def __init__(self):
        super().__init__()
        self.output_proj = nn.Linear(DIM, OUT)
        self.embed = nn.Linear(16, DIM)
        self.transformer = StreamingTransformer(
            d_model=DIM, num_heads=2, num_layers=2, dim_feedforward=4 * DIM, dropout=0.0, memory_efficient=True,
            activation="gelu", norm_first=True, causal=False, layer_scale=None, bias_ff=False, bias_attn=False)
        self.rvq = ResidualVectorQuantizer(DIM, n_q=N_Q, bins=BINS, threshold_ema_dead_code=0)
        self.batch_norm = nn.BatchNorm1d(DIM, affine=False)

    def forward(self, features, n_q):
        y = self.transformer(self.embed(features)).transpose(1, 2)
        self.rvq.set_num_codebooks(n_q)
        y = self.rvq(self.batch_norm(y), frame_rate=1).x.transpose(1, 2)
        return self.output_proj(y[:, ::DS])


style = Style()
with torch.no_grad():
    for layer in style.rvq.vq.layers:
        book = layer._codebook
        book.embed.normal_()
        book.cluster_size.uniform_(1, 9)
        book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
        book.inited.fill_(1)
    style.batch_norm.running_mean.normal_()
    style.batch_norm.running_var.uniform_(0.5, 2)
    wav = torch.randn(2, 1, 4000) * 0.3
    start, length = 800, 2400  # the middle 0.1 s
    features = mert(wav[:, 0, start:start + length]).last_hidden_state

tensors = {f"state.{name}": tensor.clone() for name, tensor in style.state_dict().items()}
style.eval()
with torch.no_grad():
    tensors["eval"] = style(features, 2)
style.train()
train = style(features, N_Q)
weights = torch.randn_like(train)
(train * weights).sum().backward()
tensors |= {"wav": wav, "features": features, "train": train.detach(), "dy": weights}
tensors |= {f"grad.{name}": parameter.grad for name, parameter in style.named_parameters()}
tensors |= {f"after.{name}": buffer.clone() for name, buffer in style.named_buffers()}
save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, here / "style.safetensors")
