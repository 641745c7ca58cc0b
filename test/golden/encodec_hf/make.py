"""Makes the golden tensors of this folder: python make.py (transformers 4.57.6, torch 2.8)."""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import EncodecConfig, EncodecModel

here = pathlib.Path(__file__).resolve().parent


def build(config, seed):
    """Random weights with a useful spread, and codebooks of the latents of noise."""
    torch.manual_seed(seed)
    model = EncodecModel(EncodecConfig(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            if name.endswith("norm.bias") or "bias_" in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
        noise = torch.randn(1, config["audio_channels"], 4 * config["sampling_rate"])
        residual = model.encoder(noise)[0].T
        for layer in model.quantizer.layers:
            book = layer.codebook
            rows = torch.randperm(residual.shape[0])[: book.codebook_size]
            book.embed.copy_(residual[rows] + 1e-3 * torch.randn(rows.shape[0], residual.shape[1]))
            book.embed_avg.copy_(book.embed)
            book.cluster_size.fill_(1.0)
            codes = book.encode(residual)
            residual = residual - book.decode(codes)
    return model


def tensors(model, wavs, bandwidths):
    out = {}
    with torch.no_grad():
        for name, (wav, mask) in wavs.items():
            out[f"wav{name}"] = wav
            if mask is not None:
                out[f"mask{name}"] = mask.to(torch.int32)
            for bandwidth in bandwidths:
                key = f"{name}.{bandwidth}"
                codes, scales, pad = model.encode(wav, mask, bandwidth, return_dict=False)
                out[f"codes{key}"] = codes.to(torch.int32)
                if scales[0] is not None:
                    out[f"scales{key}"] = torch.stack(scales)
                out[f"pad{key}"] = torch.tensor([pad], dtype=torch.int32)
                decoded = model.decode(codes, scales, mask, return_dict=False, last_frame_pad_length=pad)[0]
                out[f"decoded{key}"] = decoded
            if model.config.chunk_length is None:
                out[f"encoder_out{name}"] = model.encoder(wav if mask is None else wav * mask)
    return {name: tensor.contiguous() for name, tensor in out.items()}


def signal(batch, channels, samples, rate, seed):
    torch.manual_seed(seed)
    t = torch.arange(samples) / rate
    pitch = 200 + 300 * torch.rand(batch, channels, 1)
    return 0.4 * torch.sin(2 * torch.pi * pitch * t * (1 + t)) + 0.1 * torch.randn(batch, channels, samples)


small = {
    "24khz": dict(
        target_bandwidths=[1.5, 3.0, 6.0], sampling_rate=24000, audio_channels=1, hidden_size=8, num_filters=2,
        codebook_size=16, upsampling_ratios=[8, 5, 4, 2], pad_mode="reflect",
    ),
    "48khz": dict(
        target_bandwidths=[3.0, 6.0], sampling_rate=4800, audio_channels=2, normalize=True, chunk_length_s=0.1,
        overlap=0.05, hidden_size=8, num_filters=2, codebook_size=16, upsampling_ratios=[4, 2, 2],
        norm_type="time_group_norm", use_causal_conv=False, num_residual_layers=2, use_conv_shortcut=True,
    ),
    "replicate": dict(
        target_bandwidths=[1.5, 6.0], sampling_rate=8000, audio_channels=1, hidden_size=8, num_filters=2,
        codebook_size=16, upsampling_ratios=[5, 4], pad_mode="replicate", trim_right_ratio=0.5, use_conv_shortcut=False,
        num_residual_layers=3, dilation_growth_rate=2, compress=1, kernel_size=5, last_kernel_size=3,
    ),
}

if __name__ == "__main__":
    for kind, config in small.items():
        model = build(config, seed=len(kind))
        rate, channels = config["sampling_rate"], config["audio_channels"]
        cut = 4 if kind == "48khz" else 16
        wavs = {
            "": (signal(1, channels, rate // cut + 37, rate, 1), None),
            "_b2": (signal(2, channels, rate // (cut + 1), rate, 2), None),
        }
        if kind == "48khz":
            mask = torch.ones(2, rate // 5, dtype=torch.bool)
            mask[1, rate // 8 :] = False
            wavs["_masked"] = (signal(2, channels, rate // 5, rate, 3), mask[:, None, :])
        out = tensors(model, wavs, config["target_bandwidths"])
        state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
        save_file({**{f"w.{k}": v for k, v in state.items()}, **out}, here / f"{kind}.safetensors")
        (here / f"{kind}.json").write_text(json.dumps({"model_type": "encodec", **config}, indent=1) + "\n")
