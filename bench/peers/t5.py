"""The encoder of T5-base on a batch of texts, by transformers, with random weights."""
from common import arguments, autocast, report, size_of, timed, torch_with

args = arguments("batch", "tokens")
torch = torch_with(args)
from transformers import T5Config, T5EncoderModel  # noqa: E402

config = T5Config(vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, feed_forward_proj="relu")
model = T5EncoderModel(config).eval()
ids = torch.randint(3, 32000, (args.batch, args.tokens))
with torch.no_grad(), autocast(torch, args):
    seconds = timed(lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state, args)
report({"encode": seconds}, ["torch", "transformers"], parameters=size_of(model))
