"""Makes laion.safetensors beside this script: a tiny random model of laion_clap's classes under its names, and its embeddings.

    PYTHONPATH=<folder with laion_clap and torchlibrosa> python make_laion.py     # torch, transformers, librosa, safetensors
"""
import importlib
import pathlib
import sys
import types

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import RobertaConfig, RobertaModel

here = pathlib.Path(__file__).parent
for name in ["h5py", "torchvision", "torchvision.ops", "torchvision.ops.misc"]:  # imported by its utils, not needed here
    sys.modules[name] = types.ModuleType(name)
sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d = object
for name in ["laion_clap", "laion_clap.clap_module"]:  # without what their __init__ imports
    package = types.ModuleType(name)
    package.__path__ = [str(pathlib.Path(entry) / name.replace(".", "/")) for entry in sys.path if entry]
    sys.modules[name] = package
htsat = importlib.import_module("laion_clap.clap_module.htsat")


class Clap(torch.nn.Module):
    def __init__(self):
        super().__init__()
        config = types.SimpleNamespace(mel_bins=16, window_size=256, hop_size=40, sample_rate=4000, fmin=50, fmax=1900)
        self.audio_branch = htsat.HTSAT_Swin_Transformer(
            spec_size=64, patch_size=4, patch_stride=(4, 4), in_chans=1, num_classes=4, embed_dim=4, depths=[2, 2, 2],
            num_heads=[1, 2, 4], window_size=4, config=config)
        self.text_branch = RobertaModel(RobertaConfig(
            vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
            max_position_embeddings=20, type_vocab_size=1, layer_norm_eps=1e-5))
        projection = lambda size: torch.nn.Sequential(torch.nn.Linear(size, 12), torch.nn.ReLU(), torch.nn.Linear(12, 12))
        self.text_projection = projection(8)
        self.audio_projection = projection(16)
        self.logit_scale_a = torch.nn.Parameter(torch.ones([]))


torch.manual_seed(4)
clap = Clap().eval()
with torch.no_grad():
    for name, parameter in clap.named_parameters():
        if "_extractor" not in name:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    clap.audio_branch.bn0.running_mean.normal_().mul_(10).sub_(30)
    clap.audio_branch.bn0.running_var.uniform_(50, 150)
    clips = torch.randn(2, 4000) * 0.3
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 9, 2, 1, 1]])
    audio = clap.audio_projection(clap.audio_branch({"waveform": clips})["embedding"])
    text = clap.text_projection(clap.text_branch(ids, (ids != 1).long())["pooler_output"])
state = {f"module.{name}": value for name, value in clap.state_dict().items() if "_extractor" not in name}
outputs = {"clips": clips, "ids": ids, "audio_embeds": F.normalize(audio, dim=-1), "text_embeds": F.normalize(text, dim=-1)}
save_file({name: value.float().contiguous() for name, value in {**state, **outputs}.items()}, here / "laion.safetensors")
