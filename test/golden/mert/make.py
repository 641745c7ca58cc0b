"""Makes the files beside this script: a tiny random HuBERT (MERT's structure) and what transformers computes with it.

    python make.py     # torch, transformers, safetensors
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import HubertConfig, HubertModel

here = pathlib.Path(__file__).parent
torch.manual_seed(5)
config = HubertConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    conv_dim=(8, 12, 8), conv_kernel=(10, 3, 2), conv_stride=(5, 2, 2), num_feat_extract_layers=3,
    num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
    feat_extract_norm="group", do_stable_layer_norm=False, layer_norm_eps=1e-5,
)
model = HubertModel(config).eval()
with torch.no_grad():
    for parameter in model.parameters():  # the initial biases are zeros and the initial norms ones
        parameter.add_(torch.randn_like(parameter) * 0.1)
    wav = torch.randn(2, 403) * 0.3
    hidden = model(wav).last_hidden_state
older = {name.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v"):
         tensor for name, tensor in model.state_dict().items()}
torch.save(older, here / "older.bin")  # as PyTorch named and stored them before
save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, here / "model.safetensors")
save_file({"wav": wav, "hidden": hidden}, here / "outputs.safetensors")
json.dump({**config.to_diff_dict(), "model_type": "mert_model", "sample_rate": 24000}, open(here / "config.json", "w"), indent=1)
