"""A training step of AudioCraft's MusicGen: forward, cross entropy, backward, clipping to norm 1, AdamW."""
from common import arguments, autocast, report, size_of, timed, torch_with
from musicgen import SIZES, audiocraft_lm, conditions

args = arguments(*SIZES)
torch = torch_with(args)
from audiocraft.solvers.musicgen import MusicGenSolver  # noqa: E402

model = audiocraft_lm(args).train()
codes = torch.randint(0, args.card, (args.batch, 4, args.frames))
text = conditions(torch, args.batch, args.positions)
parameters = list(model.parameters())
optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
losses = []


def step():
    with autocast(torch, args):
        embedded = model.condition_provider({"description": text})
        output = model.compute_predictions(codes, [], embedded)
        loss, _ = MusicGenSolver._compute_cross_entropy(None, output.logits, codes, output.mask)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())


seconds = timed(step, args)
report({"step": seconds}, ["torch", "audiocraft"], parameters=size_of(model), firstLoss=losses[0])
