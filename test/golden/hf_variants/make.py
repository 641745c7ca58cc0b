"""Small random MusicGens of transformers 4.57.6 that differ from hf_musicgen_tiny, and what they compute.

stereo: 8 codebooks of two channels. melody: MusicgenMelody, chroma and text before the sequence. square: a text encoder as wide as
the decoder, so without a projection; relu; a feed-forward width that is no multiple of the model's.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, MusicgenForConditionalGeneration, MusicgenMelodyConfig,
                          MusicgenMelodyDecoderConfig, MusicgenMelodyFeatureExtractor, MusicgenMelodyForConditionalGeneration, T5Config)

HERE = Path(__file__).parent
CARD, RATE = 16, 32000


def build(name, d_text=12, t5_layers=1, d_kv=4):
    torch.manual_seed(len(name))
    melody, stereo = name == "melody", name == "stereo"
    text = T5Config(vocab_size=20, d_model=d_text, d_kv=d_kv, d_ff=16, num_layers=t5_layers, num_heads=2, num_decoder_layers=1)
    codec = EncodecConfig(target_bandwidths=[4 * 4 * 4000 / 1000], sampling_rate=RATE, audio_channels=1, normalize=False, hidden_size=4,
                          num_filters=2, num_residual_layers=1, upsampling_ratios=[4, 2], num_lstm_layers=1, codebook_size=CARD, codebook_dim=4,
                          use_causal_conv=False, use_conv_shortcut=False)
    size = dict(vocab_size=CARD, hidden_size=16, ffn_dim=41 if name == "square" else 24, num_hidden_layers=2, num_attention_heads=2, dropout=0.0,
                activation_function="relu" if name == "square" else "gelu", num_codebooks=8 if stereo else 4, audio_channels=2 if stereo else 1,
                pad_token_id=CARD, bos_token_id=CARD, initializer_factor=0.3)
    if melody:
        config = MusicgenMelodyConfig.from_sub_models_config(text, codec, MusicgenMelodyDecoderConfig(**size), chroma_length=5)
        model = MusicgenMelodyForConditionalGeneration(config)
    else:
        config = MusicgenConfig.from_sub_models_config(text, codec, MusicgenDecoderConfig(**size))
        model = MusicgenForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    for p in (getattr(model, "enc_to_dec_proj", None), getattr(model, "audio_enc_to_dec_proj", None)):
        if p is not None:
            p.weight.data.normal_(0, 0.5)
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()
        layer.codebook.inited.fill_(1)
    for key, value in dict(pad_token_id=CARD, bos_token_id=CARD, decoder_start_token_id=CARD, do_sample=True, guidance_scale=3.0, max_length=40).items():
        setattr(model.generation_config, key, value)
    return model.eval()


@torch.no_grad()
def outputs(name, model):
    torch.manual_seed(7)
    k = model.config.decoder.num_codebooks
    ids = torch.tensor([[3, 5, 7, 1], [9, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    steps = torch.randint(0, CARD + 1, (2 * k, 6))
    given = dict(input_ids=ids, attention_mask=mask)
    out = dict(input_ids=ids, attention_mask=mask, decoder_input_ids=steps)
    if name == "melody":
        wav = torch.stack([torch.sin(torch.arange(20000) * f) for f in (0.05, 0.11)]) * torch.linspace(0, 1, 20000)
        features = MusicgenMelodyFeatureExtractor(sampling_rate=RATE)(list(wav.numpy()), sampling_rate=RATE, return_tensors="pt")
        out.update(wav=wav[:, None], chroma=features["input_features"].float())
        given["input_features"] = out["chroma"]
    out["logits"] = model(**given, decoder_input_ids=steps).logits
    # with a cache, the melody model of transformers 4.57.6 generates without its conditions (it takes the empty cache for a filled one)
    out["greedy"] = model.generate(**given, do_sample=False, guidance_scale=3.0, max_new_tokens=14, use_cache=name != "melody")
    if name == "melody":
        out["text_only_logits"] = model(input_ids=ids, attention_mask=mask, decoder_input_ids=steps).logits
        out["logits"] = out["logits"][:, -6:]
        out["text_only_logits"] = out["text_only_logits"][:, -6:]
    return {key: (v.int() if v.dtype == torch.int64 else v.float()).contiguous() for key, v in out.items()}


if __name__ == "__main__":
    for variant in sys.argv[1:] or ["stereo", "melody", "square"]:
        made = build(variant, d_text=16 if variant == "square" else 12)
        made.save_pretrained(HERE / variant)
        if variant == "melody":
            MusicgenMelodyFeatureExtractor(sampling_rate=RATE).save_pretrained(HERE / variant)
        save_file(outputs(variant, made), HERE / variant / "outputs.safetensors")
