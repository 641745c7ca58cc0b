"""Makes the folders beside this script: tiny random CLAPs, and what transformers computes with them and their tokenizer.

    python make.py     # torch, transformers, tokenizers, safetensors
"""
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer, RobertaTokenizerFast

here = pathlib.Path(__file__).parent
CORPUS = [
    "an upbeat pop song with electric guitar, drums and a female voice", "calm piano in the morning, 90 bpm",
    "it's a dark techno track; heavy bass & synthesizers", "the band doesn't play jazz, they've played rock since 1975",
    "lo-fi hip hop beats to relax", "violins, cellos and a choir sing in a large hall",
]
TEXTS = [
    "an upbeat pop song with drums", "", "  It's  the band's 1st   CD!?\n\ttabs ", "Füße über 東京 🎸 naïve ½",
    "they'll we've I'd can't DON'T", "a<mask>b </s> <pad>c  <mask> d", "x" * 40 + " 12345 ,,,...", "trailing space ",
    "\u00a0non\u00a0breaking \u200b zero", "piano " * 60,
]


def tokenizer(folder: pathlib.Path) -> RobertaTokenizer:
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS * 3, vocab_size=380, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    trained.save_model(str(folder))
    RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).backend_tokenizer.save(
        str(folder / "tokenizer.json"))
    return RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def make(name: str, seed: int, audio: dict, top: dict, features: dict) -> None:
    folder = here / name
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    words = tokenizer(folder)
    config = ClapConfig(
        text_config=dict(vocab_size=380, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                         intermediate_size=12, max_position_embeddings=80),
        audio_config=dict(num_mel_bins=16, spec_size=64, patch_stride=[4, 4], patch_embeds_hidden_size=4,
                          depths=[2, 2, 2], num_attention_heads=[1, 2, 4], hidden_size=16, mlp_ratio=2.0,
                          num_hidden_layers=3, **audio),
        projection_dim=12, **top)
    model = ClapModel(config).eval()
    norm = model.audio_model.audio_encoder.batch_norm
    with torch.no_grad():
        for parameter in model.parameters():  # the initial biases are zeros and the initial norms ones
            parameter.add_(torch.randn_like(parameter) * 0.15)
        norm.running_mean.copy_(torch.randn_like(norm.running_mean) * 10 - 30)
        norm.running_var.copy_(torch.rand_like(norm.running_var) * 100 + 50)
    extractor = ClapFeatureExtractor(
        feature_size=16, sampling_rate=4000, hop_length=40, max_length_s=1, fft_window_size=256, frequency_min=50,
        frequency_max=1900, truncation="rand_trunc", **features)
    clips = [torch.randn(length).mul(0.3).numpy() for length in (4000, 1501, 450)]
    clips[1] += np.sin(np.arange(1501) * 0.3).astype("float32")
    mel = extractor(clips, sampling_rate=4000, return_tensors="pt")["input_features"].float()
    tokens = words(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        audio_embeds = model.get_audio_features(mel)
        text_embeds = model.get_text_features(**tokens)
    outputs = {"mel": mel[:, 0], "audio_embeds": audio_embeds, "text_embeds": text_embeds}
    outputs |= {f"clip{i}": torch.from_numpy(clip) for i, clip in enumerate(clips)}
    save_file({key: value.contiguous() for key, value in outputs.items()}, folder / "outputs.safetensors")
    ids = [words(text)["input_ids"] for text in TEXTS]
    (folder / "texts.json").write_text(json.dumps({"texts": TEXTS, "ids": ids}))
    state = {key: value.contiguous() for key, value in model.state_dict().items() if value.is_floating_point()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1))
    for path in [folder / "tokenizer.json"] if name == "relu" else [folder / "vocab.json", folder / "merges.txt"]:
        path.unlink()  # one folder for each of the two forms of a tokenizer
    kept = {key: value for key, value in extractor.to_dict().items() if "mel_filters" not in key}
    (folder / "preprocessor_config.json").write_text(json.dumps(kept, indent=1))


make("relu", 1, {"patch_size": 4, "window_size": 4}, {}, {})
make("gelu", 2, {"patch_size": 6, "window_size": 3, "enable_patch_layer_norm": False, "qkv_bias": False},
     {"projection_hidden_act": "gelu"}, {"padding": "pad"})
