"""Makes finetune.safetensors: gradients of transformers' T5 encoder (t5/) and the projection, of sum(w * embedding * mask).

Run with torch 2.8.0, transformers 4.57.6: python make_finetune.py
"""
import torch
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

golden = load_file("cond.safetensors")
prefix = "condition_provider.conditioners.description.output_proj."
t5 = T5EncoderModel.from_pretrained("t5").eval()
projection = torch.nn.Linear(48, 64)
with torch.no_grad():
    projection.weight.copy_(golden[prefix + "weight"])
    projection.bias.copy_(golden[prefix + "bias"])
ids, mask = golden["description.input_ids"].long(), golden["description.attention_mask"].long()
hidden = t5(input_ids=ids, attention_mask=mask).last_hidden_state
embedding = projection(hidden) * mask.unsqueeze(-1)
weights = torch.cos(torch.arange(embedding.numel(), dtype=torch.float64)).float().view_as(embedding)
(weights * embedding).sum().backward()
names = [
    "shared.weight",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    "encoder.block.0.layer.0.SelfAttention.q.weight",
    "encoder.block.0.layer.0.layer_norm.weight",
    "encoder.block.1.layer.0.SelfAttention.o.weight",
    "encoder.block.1.layer.1.DenseReluDense.wi.weight",
    "encoder.final_layer_norm.weight",
]
parameters = dict(t5.named_parameters())
grads = {f"t5.{name}": parameters[name].grad.contiguous().clone() for name in names}
grads["output_proj.weight"] = projection.weight.grad
grads["output_proj.bias"] = projection.bias.grad
save_file(grads, "finetune.safetensors")
