"""Golden tensors of codec training, made with AudioCraft 1.3.0 and PyTorch 2.8 (CPU): losses, discriminators and their updates.

    python make.py FOLDER

FOLDER is the golden folder audiocraft_encodec, of which a part is copied: the quantizer's first two steps, k-means alone, and the
balancer with two simple losses.
"""
import json
import sys

import torch
from audiocraft import adversarial, losses
from audiocraft.solvers import builders  # noqa: F401 (registers what the losses need)
from safetensors.torch import load_file, save_file

torch.manual_seed(7)
torch.set_num_threads(1)
settings = {}


def waves(channels, length):
    t = torch.arange(length) / 16000
    tone = torch.stack([torch.sin(2 * torch.pi * f * t) for f in (440.0, 1230.0)][:channels])
    real = torch.stack([tone, 0.5 * tone.flip(0)]) * 0.4 + 0.02 * torch.randn(2, channels, length)
    fake = 0.7 * real.roll(3, -1) + 0.1 * torch.randn(2, channels, length)
    return fake, real


def make_losses():
    fake, real = waves(2, 1500)
    tensors = {"y_pred": fake, "y": real}
    settings["losses"] = {
        "mel": dict(sample_rate=16000, n_fft=256, hop_length=64, win_length=256, n_mels=20, f_min=30.0, normalized=True),
        "msspec": dict(sample_rate=16000, range_start=5, range_end=8, n_mels=12, f_min=64.0, normalized=False, alphas=True),
        "mrstft": dict(n_ffts=[128, 256], hop_lengths=[25, 50], win_lengths=[100, 240], factor_sc=0.3, factor_mag=0.7, normalized=True),
        "sisnr": dict(sample_rate=16000, segment=0.03, overlap=0.25),
    }
    made = {
        "mel": losses.MelSpectrogramL1Loss,
        "msspec": losses.MultiScaleMelSpectrogramLoss,
        "mrstft": losses.MRSTFTLoss,
        "sisnr": losses.SISNR,
    }
    for name, options in settings["losses"].items():
        x = fake.clone().requires_grad_(True)
        loss = made[name](**options)(x, real).sum()
        tensors[f"{name}.loss"] = loss.detach()
        tensors[f"{name}.grad"] = torch.autograd.grad(loss, x)[0]
    return tensors


def make_discriminators():
    settings["discriminators"] = {
        "msstftd": dict(
            in_channels=2, filters=3, n_ffts=[64, 128], hop_lengths=[16, 40], win_lengths=[48, 128],
            activation="LeakyReLU", activation_params={"negative_slope": 0.3},
        ),
        "mpd": dict(in_channels=2, periods=[2, 3], n_layers=3, filters=2, filters_scale=2, max_filters=6, kernel_sizes=[5, 3]),
        "msd": dict(
            in_channels=2, scale_norms=["spectral_norm"], filters=4, max_filters=12, downsample_scales=[2, 2],
            groups=[1, 2], inner_kernel_sizes=[5, 7], paddings=[2, 3],
        ),
    }
    classes = {
        "msstftd": adversarial.MultiScaleSTFTDiscriminator,
        "mpd": adversarial.MultiPeriodDiscriminator,
        "msd": adversarial.MultiScaleDiscriminator,
    }
    fake, real = waves(2, 601)
    tensors = {"fake": fake, "real": real}
    kinds = {"msstftd": ("hinge", "l1"), "mpd": ("mse", "l2"), "msd": ("hinge2", "l1")}
    feature = {"l1": torch.nn.L1Loss(), "l2": torch.nn.MSELoss()}
    for name, options in settings["discriminators"].items():
        model = classes[name](**options)
        kind, feat = kinds[name]
        loss = adversarial.AdversarialLoss(
            model, torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.9)),
            adversarial.get_adv_criterion(kind), adversarial.get_real_criterion(kind),
            adversarial.get_fake_criterion(kind), adversarial.FeatureMatchingLoss(feature[feat]),
        )
        if name == "msd":
            for _ in range(20):
                model(fake)
            model.eval()  # no more power iterations: they have a test of their own
        tensors.update({f"{name}.w.{key}": value.clone() for key, value in model.state_dict().items()})
        x = fake.clone().requires_grad_(True)
        adv, matching = loss(x, real)
        tensors[f"{name}.adv"], tensors[f"{name}.feat"] = adv.detach(), matching.detach()
        tensors[f"{name}.grad.adv"] = torch.autograd.grad(adv, x, retain_graph=True)[0]
        tensors[f"{name}.grad.feat"] = torch.autograd.grad(matching, x)[0]
        for i, logits in enumerate(model(fake)[0]):
            tensors[f"{name}.logits.{i}"] = logits.detach()
        tensors[f"{name}.d_loss.1"] = loss.train_adv(fake, real).detach()
        tensors.update({f"{name}.d_grad.{key}": p.grad.clone() for key, p in model.named_parameters()})
        tensors[f"{name}.d_loss.2"] = loss.train_adv(fake, real).detach()
        tensors.update({f"{name}.after.{key}": value.clone() for key, value in model.state_dict().items()})
    return tensors


def copy_quantizer(folder):
    outputs = load_file(f"{folder}/outputs.safetensors")
    tensors = {"latents": outputs["step2.encoder_out"]}
    for k in range(4):
        tensors[f"sample_vectors.{k}"] = outputs[f"step1.sample_vectors.{2 * k}"]
    for step in (1, 2):
        for name in ("codes", "penalty"):
            tensors[f"step{step}.{name}"] = outputs[f"step{step}.{name}"]
        for name, value in load_file(f"{folder}/state_after_step{step}.safetensors").items():
            if name.endswith(("_codebook.embed_avg", "_codebook.cluster_size")):
                tensors[f"step{step}.{name}"] = value
    return tensors


folder = sys.argv[1]
save = lambda tensors, name: save_file({k: v.contiguous().clone() for k, v in tensors.items()}, f"{name}.safetensors")
save(make_losses(), "losses")
save(make_discriminators(), "discriminators")
save(copy_quantizer(folder), "quantizer")
save(load_file(f"{folder}/kmeans.safetensors"), "kmeans")
save(load_file(f"{folder}/balancer_toy.safetensors"), "balancer_toy")
json.dump(settings, open("settings.json", "w"), indent=1)
