"""Makes variants.safetensors of this folder: python make.py. Options of AudioCraft's SEANet, with the gradients of training."""

import json
import pathlib

import torch
from audiocraft.models.encodec import EncodecModel
from audiocraft.modules.seanet import SEANetDecoder, SEANetEncoder
from audiocraft.quantization import ResidualVectorQuantizer
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent

base = dict(channels=1, dimension=4, n_filters=2, ratios=[4, 3], n_residual_layers=1, lstm=1, kernel_size=7)
relu = dict(activation="ReLU", activation_params={})
variants = {
    "spectral": dict(norm="spectral_norm", pad_mode="constant"),
    "spectral_causal": dict(norm="spectral_norm", causal=True, pad_mode="reflect", true_skip=False),
    "group": dict(norm="time_group_norm", norm_params={"eps": 0.01}, pad_mode="reflect", disable_norm_outer_blocks=2),
    "group_plain": dict(norm="time_group_norm", norm_params={"affine": False}, pad_mode="replicate"),
    "replicate": dict(norm="weight_norm", pad_mode="replicate", n_residual_layers=3, dilation_base=3, lstm=0),
    "replicate_causal": dict(norm="weight_norm", pad_mode="replicate", causal=True, decoder=dict(trim_right_ratio=0.3)),
    "circular": dict(norm="none", pad_mode="circular", compress=1, residual_kernel_size=5, last_kernel_size=4),
    "reflect_dilated": dict(norm="weight_norm", pad_mode="reflect", n_residual_layers=3, true_skip=False, lstm=2),
    "outer_all": dict(norm="weight_norm", pad_mode="constant", disable_norm_outer_blocks=4,
                      decoder=dict(final_activation="Tanh")),
    "outer_one": dict(norm="weight_norm", pad_mode="reflect", disable_norm_outer_blocks=1,
                      decoder=dict(final_activation="Hardtanh", final_activation_params={"min_val": -0.2, "max_val": 0.1})),
    "trim_none": dict(norm="weight_norm", pad_mode="constant", causal=True, decoder=dict(trim_right_ratio=0.0)),
    "elu": dict(norm="none", pad_mode="constant", activation="ELU", activation_params={"alpha": 0.7}),
    "leaky": dict(norm="none", pad_mode="constant", activation="LeakyReLU", activation_params={"negative_slope": 0.3}),
    "prelu": dict(norm="none", pad_mode="constant", activation="PReLU", activation_params={"init": 0.1}),
    "silu": dict(norm="none", pad_mode="constant", activation="SiLU", activation_params={}),
    "gelu": dict(norm="none", pad_mode="constant", activation="GELU", activation_params={"approximate": "tanh"}),
    "stereo": dict(norm="weight_norm", pad_mode="reflect", channels=2, renormalize=True, **relu),
}

activations = {
    "ELU": {"alpha": 0.5}, "CELU": {"alpha": 0.5}, "SELU": {}, "ReLU": {}, "ReLU6": {}, "LeakyReLU": {"negative_slope": 0.2},
    "GELU": {}, "SiLU": {}, "Mish": {}, "Softplus": {"beta": 2.0}, "Softsign": {}, "Tanh": {}, "Sigmoid": {}, "LogSigmoid": {},
    "Hardtanh": {"min_val": -0.5, "max_val": 2.0}, "Hardsigmoid": {}, "Hardswish": {}, "Tanhshrink": {},
    "Softshrink": {"lambd": 0.3}, "PReLU": {"init": 0.1}, "Identity": {},
}

out, configs = {}, {}
for seed, (name, options) in enumerate(variants.items()):
    torch.manual_seed(seed)
    options = {**base, **options}
    renormalize = options.pop("renormalize", False)
    decoder_options = options.pop("decoder", {})
    causal = options.get("causal", False)
    model = EncodecModel(
        SEANetEncoder(**options), SEANetDecoder(**options, **decoder_options),
        ResidualVectorQuantizer(dimension=4, n_q=2, bins=8, kmeans_init=False, threshold_ema_dead_code=0),
        frame_rate=100, sample_rate=1200, channels=options["channels"], causal=causal, renormalize=renormalize)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("norm.weight") or key.endswith("norm.bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    wav = torch.randn(2, options["channels"], 131)
    # the state after `training` power iterations, then gradients of a training forward without the quantizer
    model.train()
    for _ in range(3):
        model.encoder(wav), model.decoder(torch.randn(2, 4, 5))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, scale = model.preprocess(wav)
    latents = model.encoder(x)
    y = model.postprocess(model.decoder(latents)[..., : wav.shape[-1]], scale)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    after = model.state_dict()
    model.eval()
    with torch.no_grad():
        codes, scale = model.encode(wav)
        decoded = model.decode(codes, scale)
        out[f"{name}.latents"] = model.encoder(model.preprocess(wav)[0])
    out.update({f"{name}.w.{k}": v for k, v in before.items()})
    out.update({f"{name}.after.{k}": v for k, v in after.items() if k.endswith(("weight_u", "weight_v")) and "spectral" in name})
    out.update({f"{name}.grad.{k}": p.grad for k, p in model.named_parameters()})
    out.update({f"{name}.wav": wav, f"{name}.train": y, f"{name}.weights": weights,
                f"{name}.codes": codes.to(torch.int32), f"{name}.decoded": decoded})
    if scale is not None:
        out[f"{name}.scale"] = scale
    configs[name] = {
        "encodec": dict(autoencoder="seanet", quantizer="rvq", sample_rate=1200, channels=options["channels"], causal=causal,
                        renormalize=renormalize),
        "seanet": {**options, "decoder": decoder_options},
        "rvq": dict(n_q=2, bins=8, kmeans_init=False),
    }

x = torch.cat([torch.linspace(-4.03, 3.97, 41), torch.tensor([0.05, -0.05])])
out["x"] = x
for name, params in activations.items():
    leaf = x.clone().requires_grad_()
    y = getattr(torch.nn, name)(**params)(leaf)
    y.sum().backward()
    out[f"activation.{name}"], out[f"slope.{name}"] = y.detach(), leaf.grad

save_file({k: v.detach().clone().contiguous() for k, v in out.items()}, here / "variants.safetensors",
          metadata={"configs": json.dumps(configs), "activations": json.dumps(activations)})
