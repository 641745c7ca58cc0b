"""Generation of one sample with guidance (two rows), keys and values cached, drawn from the 250 most likely tokens."""
from common import arguments, autocast, report, size_of, timed, torch_with
from musicgen import SIZES, TEXT_DIM, audiocraft_lm, conditions

args = arguments(*SIZES, impl=["audiocraft", "transformers"])
torch = torch_with(args)


def with_audiocraft():
    from audiocraft.modules.conditioners import ConditioningAttributes

    model = audiocraft_lm(args).eval()
    vectors, mask = conditions(torch, args.batch, args.positions)
    # LMModel.generate puts the rows without conditions behind the others and has all of them tokenized at once
    rows = torch.cat([vectors, torch.zeros_like(vectors)]), torch.cat([mask, torch.zeros_like(mask)])
    model.condition_provider.tokenize = lambda attributes: {"description": rows}
    samples = [ConditioningAttributes(text={"description": "text"}) for _ in range(args.batch)]

    def generate(frames):
        model.generate(conditions=samples, max_gen_len=frames, use_sampling=True, top_k=250, cfg_coef=3.0)

    return generate, size_of(model), ["torch", "audiocraft"]


def with_transformers():
    """The whole MusicgenForConditionalGeneration (its decoder's own generate fails in 4.57), around it a T5 and a codec too small to count."""
    from transformers import EncodecConfig, GenerationConfig, MusicgenConfig, MusicgenDecoderConfig
    from transformers import MusicgenForConditionalGeneration, T5Config

    decoder = MusicgenDecoderConfig(
        vocab_size=args.card, hidden_size=args.dim, ffn_dim=4 * args.dim, num_hidden_layers=args.layers,
        num_attention_heads=args.heads, num_codebooks=4, max_position_embeddings=2048, dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, bos_token_id=args.card, pad_token_id=args.card, attn_implementation="sdpa",
    )
    text = T5Config(vocab_size=128, d_model=TEXT_DIM, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    codec = EncodecConfig(
        audio_channels=1, codebook_dim=16, codebook_size=args.card, hidden_size=16, num_filters=4, sampling_rate=32000,
        target_bandwidths=[2.2], upsampling_ratios=[8, 5, 4, 4], use_causal_conv=False, use_conv_shortcut=False,
    )
    model = MusicgenForConditionalGeneration(MusicgenConfig.from_sub_models_config(text, codec, decoder)).eval()
    model.generation_config = GenerationConfig(
        do_sample=True, guidance_scale=3.0, max_length=2048, bos_token_id=args.card, pad_token_id=args.card,
        decoder_start_token_id=args.card,
    )
    ids = torch.full((args.batch, args.positions), 5)

    def generate(frames):
        model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=250, guidance_scale=3.0,
            max_new_tokens=frames + 3, use_cache=True,
        )

    return generate, size_of(model.decoder), ["torch", "transformers"]


generate, parameters, packages = with_audiocraft() if args.impl == "audiocraft" else with_transformers()
with torch.no_grad(), autocast(torch, args):
    generate(8)  # beside the warm-up at full length: cheap, and all code has run once
    seconds = timed(lambda: generate(args.frames), args)
report({"generate": seconds}, packages, parameters=parameters)
