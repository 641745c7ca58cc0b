"""Makes the files of this folder: what torch.save writes, in the kinds that we meet. Versions: torch 2.8, omegaconf 2.3.

    python make.py
"""
import argparse
import collections
import io
import json
import pathlib
import warnings

import numpy as np
import torch
from omegaconf import OmegaConf

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).parent
torch.manual_seed(0)


def views():
    """Every dtype, and every way in which tensors share or stride storages."""
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    values = {name: torch.tensor([1.5, -2.0, 0.0]).to(getattr(torch, name)) for name in ["float64", "float32", "float16", "bfloat16"]}
    values |= {name: torch.tensor([1, 2, 100]).to(getattr(torch, name)) for name in ["int64", "int32", "int16", "int8", "uint8"]}
    values["bool"] = torch.tensor([True, False, True])
    values["uint16"] = torch.tensor([1, 2, 65535]).to(torch.uint16)
    values["base"] = base
    values["transposed"] = base.permute(2, 0, 1)
    values["middle"] = base[:, 1:, 1:3]
    values["every_other"] = base.flatten()[1::2]
    values["expanded"] = base[0, 0, :2].reshape(1, 2).expand(3, 2)
    values["scalar"] = torch.tensor(-7.0)
    values["empty"] = torch.zeros(0, 4)
    values["parameter"] = torch.nn.Parameter(torch.tensor([0.25, 0.5]))
    return collections.OrderedDict(values)


def expected(state):
    return {
        name: {"shape": list(t.shape), "values": [float(x) for x in t.detach().to(torch.float64).flatten().tolist()]}
        for name, t in state.items()
    }


state = views()
torch.save(state, here / "views.pt")
torch.save({k: v for k, v in state.items() if k != "uint16"}, here / "views_legacy.bin", _use_new_zipfile_serialization=False)
(here / "views.json").write_text(json.dumps(expected(state)))

# as audiocraft.utils.export writes them
config = {"sample_rate": 32000, "transformer_lm": {"dim": 64, "num_heads": 4}, "conditioners": None}
layer = torch.nn.Linear(3, 2)
export = {"best_state": layer.state_dict(), "xp.cfg": OmegaConf.to_yaml(OmegaConf.create(config)), "version": "1.4.0a2", "exported": True}
torch.save(export, here / "state_dict.bin")

# as a solver of AudioCraft writes it
cfg = OmegaConf.create(
    {
        **config,
        "name": "tiny",
        "lr": 1e-4,
        "nothing": None,
        "missing": "???",
        "interpolated": "${transformer_lm.dim}",
        "list": [1, "two", [3.5, None], {"four": True}],
        "empty": {},
    }
)
OmegaConf.set_struct(cfg, True)
optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
layer(torch.ones(1, 3)).sum().backward()
optimizer.step()
checkpoint = {
    "best_state": {"model": layer.state_dict()},
    "xp.cfg": cfg,
    "xp.sig": "abcd1234",
    "history": [{"train": {"ce": np.float64(2.5), "epochs": np.int64(3)}}],
    "model": layer.state_dict(),
    "optimizer": optimizer.state_dict(),
    "numpy": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "set": {1},
    "path": pathlib.PurePosixPath("/a/b"),
    "args": argparse.Namespace(depth=2),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "size": torch.Size([2, 3]),
    "big": 2**70,
}
torch.save(checkpoint, here / "checkpoint.th")
(here / "config.json").write_text(json.dumps(OmegaConf.to_container(cfg, resolve=False)))

# protocol 4 uses other opcodes
torch.save({"weight": torch.ones(2), "note": "ü", "bytes": b"ab"}, here / "protocol4.pt", pickle_protocol=4)
torch.serialization.set_crc32_options(False)
torch.save({"weight": torch.ones(2)}, here / "no_checksums.pt")
