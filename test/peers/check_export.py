"""Checks that exports load in the programs they are for and compute the same: transformers 4.57 and audiocraft 1.3.

    python check_export.py make FOLDER              # writes small random models of transformers: FOLDER/{text,stereo,melody,square}
    npm run export -- FOLDER/text --format hf --out FOLDER/text-hf          # and so on
    npm run export -- FOLDER/text --format audiocraft --out FOLDER/text-ac
    python check_export.py hf FOLDER/text FOLDER/text-hf
    python check_export.py audiocraft FOLDER/text FOLDER/text-ac

`make` gives the text encoders the width and depth of t5-small, since AudioCraft knows text encoders by name only. Prints a line per
comparison with the largest difference; the exit code is 1 when one is above its tolerance.
"""
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

failed = False


def report(what, a, b, tolerance):
    global failed
    error = (a - b).abs().max().item() if a.shape == b.shape else float("inf")
    failed = failed or not error <= tolerance
    print(f"{'ok  ' if error <= tolerance else 'FAIL'} {what}: {error:.2e} (at most {tolerance:g})")


def load_hf(folder):
    from transformers import AutoConfig, MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration
    melody = AutoConfig.from_pretrained(folder).model_type == "musicgen_melody"
    kind = MusicgenMelodyForConditionalGeneration if melody else MusicgenForConditionalGeneration
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    problems = {key: value for key, value in info.items() if value and not (key == "missing_keys" and all("embed_positions" in v for v in value))}
    assert not problems, problems
    return model.eval()


def given(model, batch=2):
    torch.manual_seed(3)
    k = model.config.decoder.num_codebooks
    ids = torch.randint(3, model.config.text_encoder.vocab_size, (batch, 5))
    codes = torch.randint(0, model.config.decoder.vocab_size, (batch, k, 7))
    return ids, codes


@torch.no_grad()
def check_hf(original, export):
    a, b = load_hf(original), load_hf(export)
    ids, codes = given(a)
    k = codes.shape[1]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    run = lambda m: m(input_ids=ids, attention_mask=mask, decoder_input_ids=codes.reshape(2 * k, -1)).logits
    report("logits", run(a), run(b), 0)
    make = lambda m: m.generate(input_ids=ids, attention_mask=mask, do_sample=False, guidance_scale=3.0, max_new_tokens=12)
    report("greedy generation", make(a), make(b), 0)
    wav = torch.randn(1, 1, 4000) * 0.3
    report("codec", *(m.audio_encoder.encode(wav).audio_codes.float() for m in (a, b)), 0)
    assert a.generation_config.max_length == b.generation_config.max_length


@torch.no_grad()
def check_audiocraft(original, export):
    import audiocraft.modules.conditioners as conditioners
    from audiocraft.models import MusicGen
    hf = load_hf(original)
    # the text encoder by its name would come from the hub: it is the original's
    conditioners.T5EncoderModel = type("Fake", (), {"from_pretrained": staticmethod(lambda name: hf.text_encoder)})
    conditioners.T5Tokenizer = type("Fake", (), {"from_pretrained": staticmethod(lambda name: None)})
    separator = SimpleNamespace(sources=["drums", "bass", "other", "vocals"], to=lambda device: separator)
    pretrained = SimpleNamespace(get_model=lambda name: separator)
    sys.modules.setdefault("demucs", SimpleNamespace(pretrained=pretrained))
    sys.modules.setdefault("demucs.pretrained", pretrained)
    model = MusicGen.get_pretrained(str(export), device="cpu")
    lm = model.lm
    ids, codes = given(hf)
    k = codes.shape[1]
    mask = torch.ones_like(ids)
    names = lm.condition_provider.conditioners
    hidden = hf.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    conditions = {"description": (names["description"].output_proj(hidden), mask)}
    kwargs = {}
    if "self_wav" in names:
        chroma = torch.nn.functional.one_hot(torch.randint(0, 12, (2, hf.config.chroma_length)), 12).float()
        conditions["self_wav"] = (names["self_wav"].output_proj(chroma), torch.ones(chroma.shape[:2]))
        kwargs["input_features"] = chroma
        assert names["self_wav"].chroma_len == hf.config.chroma_length, names["self_wav"].chroma_len
    theirs = lm(codes, [], condition_tensors=conditions)
    logits = hf(input_ids=ids, attention_mask=mask, decoder_input_ids=codes.reshape(2 * k, -1), **kwargs).logits
    report("logits", theirs.reshape(2 * k, 7, -1), logits[:, -7:], 2e-5)
    wav = torch.randn(1, model.compression_model.channels, 4000) * 0.3
    encoded, scale = model.compression_model.encode(wav)
    mono = wav[:, :1]
    report("codec, encoding", encoded[:, ::wav.shape[1]].float(), hf.audio_encoder.encode(mono).audio_codes[0].float(), 0)
    decoded = model.compression_model.decode(encoded, scale)[:, :1]
    report("codec, decoding", decoded, hf.audio_encoder.decode(encoded[None, :, ::wav.shape[1]], [None]).audio_values, 1e-5)
    print("max_duration", model.max_duration, "sample_rate", model.sample_rate)


def make(folder):
    sys.path.insert(0, str(Path(__file__).parent.parent / "golden" / "hf_variants"))
    from make import build
    for name in ["text", "stereo", "melody", "square"]:
        wide = dict(d_text=16) if name == "square" else dict(d_text=512, t5_layers=6, d_kv=8)
        model = build(name, **wide)
        if name == "melody":
            model.config.chroma_length = 235  # of 30 s, as AudioCraft computes it
        model.generation_config.max_length = 30 * 4000  # AudioCraft takes no model of less than 18 s
        model.save_pretrained(Path(folder) / name)


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"make": make, "hf": check_hf, "audiocraft": check_audiocraft}[command](*paths)
    sys.exit(1 if failed else 0)
