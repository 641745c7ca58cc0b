"""EnCodec 32 kHz of true size: encoding and decoding of noise, by transformers or AudioCraft, with random weights."""
from common import arguments, autocast, report, size_of, timed, torch_with

args = arguments("seconds", impl=["transformers", "audiocraft"], config_dir="")
torch = torch_with(args)
wav = 0.3 * torch.randn(1, 1, 32000 * args.seconds)


def with_transformers():
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(
        audio_channels=1, codebook_dim=128, codebook_size=2048, hidden_size=128, num_filters=64, num_lstm_layers=2,
        num_residual_layers=1, normalize=False, sampling_rate=32000, target_bandwidths=[2.2],
        upsampling_ratios=[8, 5, 4, 4], use_causal_conv=False, use_conv_shortcut=False,
    )
    model = EncodecModel(config).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    return model, lambda: model.encode(wav).audio_codes, lambda codes: model.decode(codes, [None]).audio_values


def with_audiocraft():
    """As solver=compression/encodec_musicgen_32khz says, in our config tree, which has AudioCraft's names."""
    from audiocraft.models import builders
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(args.config_dir, version_base="1.3"):
        cfg = compose("config", overrides=["solver=compression/encodec_musicgen_32khz", "rvq.kmeans_init=false"])
    OmegaConf.set_struct(cfg, False)
    cfg.device = "cpu"
    model = builders.get_compression_model(cfg).eval()
    return model, lambda: model.encode(wav)[0], lambda codes: model.decode(codes)


with torch.no_grad(), autocast(torch, args):
    model, encode, decode = with_transformers() if args.impl == "transformers" else with_audiocraft()
    codes = encode()
    series = {"encode": timed(encode, args), "decode": timed(lambda: decode(codes), args)}
report(series, ["torch", args.impl], parameters=size_of(model), frames=codes.shape[-1], codebooks=codes.shape[-2])
