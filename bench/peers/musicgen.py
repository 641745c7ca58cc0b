"""AudioCraft's and transformers' MusicGen decoders with random weights, in the sizes of our benchmarks."""

TEXT_DIM = 768
SIZES = ["dim", "layers", "heads", "card", "batch", "frames", "positions"]


def audiocraft_lm(args):
    """LMModel as config/model/lm/musicgen_lm.yaml has it. Its text conditioner projects fixed vectors: T5 is measured by itself."""
    from audiocraft.models.lm import LMModel
    from audiocraft.modules.codebooks_patterns import DelayedPatternProvider
    from audiocraft.modules.conditioners import BaseConditioner, ConditionFuser, ConditioningProvider

    class FixedVectors(BaseConditioner):
        def tokenize(self, x):
            return x

        def forward(self, x):
            vectors, mask = x
            return self.output_proj(vectors) * mask[..., None], mask

    provider = ConditioningProvider({"description": FixedVectors(TEXT_DIM, args.dim)})
    fuser = ConditionFuser({"sum": [], "prepend": [], "cross": ["description"], "input_interpolate": []})
    return LMModel(
        DelayedPatternProvider(4), provider, fuser,
        n_q=4, card=args.card, dim=args.dim, num_heads=args.heads, num_layers=args.layers, hidden_scale=4,
        norm="layer_norm", norm_first=True, activation="gelu", positional_embedding="sin", causal=True, dropout=0.0,
        bias_attn=False, bias_ff=False, bias_proj=False, cross_attention=True, memory_efficient=True, cfg_coef=3.0,
        weight_init="gaussian", depthwise_init="current", zero_bias_init=True,
    )


def conditions(torch, rows: int, positions: int):
    """Vectors [rows, positions, 768] and a mask that hides none."""
    return torch.randn(rows, positions, TEXT_DIM), torch.ones(rows, positions)
