/** The balancer of losses: with the losses of codec training in several settings, and with two simple ones. */
import { AdversarialLoss, Adversary } from "../losses/adversarial.ts";
import { Balancer, type BalancerOptions, type LossGradient } from "../losses/balancer.ts";
import { type AudioLoss, buildLoss } from "../losses/build.ts";
import { type Tensor, tf, valueAndGradientAt } from "../runtime/index.ts";
import { type Checks, check, once, worstOf } from "./check.ts";
import { gradientTolerance, lossTolerance, roughGradientTolerance } from "./codec_losses.ts";
import { maxRelative, relativeL2 } from "./compare.ts";
import { stftDiscriminator } from "./discriminators.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { tensorOf } from "./tensors.ts";

type Losses = Record<string, AudioLoss>;

/** `SETTING.STEP.*`: inputs are fake0 * (1 + 0.3 step), weights those of the config's `losses`. */
export async function* verifyBalancer(folder: GoldenFolder, config: Json): Checks {
  const read = (name: string) => tensorOf(folder, "balancer", name);
  const { names } = folder.tensors("balancer");
  const losses = once(() => lossesOf(folder, config, read("real")));
  const balanced = once(() => {
    const cache = new Map<number, Record<string, LossGradient>>();
    return (step: number) => {
      if (!cache.has(step)) cache.set(step, evaluate(losses(), tf.mul(read("fake0"), 1 + 0.3 * step)));
      return cache.get(step)!;
    };
  });
  for (const [setting, options] of Object.entries(folder.meta.balancer as Record<string, Json>)) {
    const steps = names.filter((name) => new RegExp(`^${setting}\\.\\d+\\.grad$`).test(name)).length;
    const results = once(() => {
      const balancer = new Balancer(weightsOf(config, losses()), options as unknown as BalancerOptions);
      return Array.from({ length: steps }, (_, step) => balancer.balance(balanced()(step)));
    });
    const compare = (kind: "loss" | "ratio", of: (step: number, name: string) => Tensor) =>
      worstOf(
        names.flatMap((tensor): [string, number][] => {
          const [, step, name] = new RegExp(`^${setting}\\.(\\d+)\\.${kind}\\.(\\w+)$`).exec(tensor) ?? [];
          if (step === undefined) return [];
          return [
            [tensor, maxRelative(of(Number(step), name).dataSync(), folder.values("balancer", tensor))],
          ];
        }),
      );
    const each = (what: string, measure: (actual: Float32Array, expected: ArrayLike<number>) => number) =>
      worstOf(
        results().map(({ gradient, loss }, step) => {
          const tensor = `${setting}.${step}.${what}`;
          const actual = (what === "grad" ? gradient : loss).dataSync() as Float32Array;
          return [tensor, measure(actual, folder.values("balancer", tensor))];
        }),
      );
    yield await check(`balancer ${setting} losses`, lossTolerance, () =>
      compare("loss", (step, name) => balanced()(step)[name].loss),
    );
    yield await check(`balancer ${setting} ratios`, lossTolerance, () =>
      compare("ratio", (step, name) => results()[step].ratios[name]),
    );
    yield await check(`balancer ${setting} effective loss`, lossTolerance, () =>
      each("effective", maxRelative),
    );
    yield await check(`balancer ${setting} gradient`, roughGradientTolerance, () => each("grad", relativeL2));
  }
}

/** Losses a = 5 mean z^2 and b = sum |z| of weights 1 and 3, decay 0.9. */
export async function* verifyToyBalancer(folder: GoldenFolder): Checks {
  const file = folder.tensors("balancer_toy");
  const steps = file.names.filter((name) => /^z\d+$/.test(name)).length;
  const results = once(() => {
    const options = { balance_grads: true, total_norm: 1, ema_decay: 0.9, per_batch_item: true };
    const balancer = new Balancer({ a: 1, b: 3 }, options);
    const losses = {
      a: (z: Tensor) => tf.mul(tf.mean(tf.square(z)), 5) as Tensor,
      b: (z: Tensor) => tf.sum(tf.abs(z)) as Tensor,
    };
    return Array.from({ length: steps }, (_, i) =>
      balancer.balance(evaluate(losses, tensorOf(folder, "balancer_toy", `z${i}`))),
    );
  });
  yield await check("balancer_toy effective loss", lossTolerance, () =>
    worstOf(
      results().map(({ loss }, i) => [`eff${i}`, maxRelative(loss.dataSync(), file.readFloat32(`eff${i}`))]),
    ),
  );
  yield await check("balancer_toy gradient", gradientTolerance, () =>
    worstOf(
      results().map(({ gradient }, i) => [
        `grad${i}`,
        relativeL2(gradient.dataSync(), file.readFloat32(`grad${i}`)),
      ]),
    ),
  );
}

function evaluate(losses: Losses, fake: Tensor): Record<string, LossGradient> {
  return Object.fromEntries(
    Object.entries(losses).map(([name, loss]) => {
      const { value, gradient } = valueAndGradientAt((x) => loss(x, x), fake);
      return [name, { loss: value, gradient }];
    }),
  );
}

/** The losses whose values the folder has, of a wave against `real`. */
function lossesOf(folder: GoldenFolder, config: Json, real: Tensor): Losses {
  const adversary = new Adversary(
    stftDiscriminator(config, folder.tensors("msstftd_final")),
    new AdversarialLoss({ adv_loss: "hinge", feat_loss: "l1" }),
  );
  const { adversarial, featureMatching } = adversary.modelLosses(real);
  const names = folder.namesInOrder("balancer").flatMap((name) => /\.0\.loss\.(\w+)$/.exec(name)?.[1] ?? []);
  return Object.fromEntries(
    [...new Set(names)].map((name): [string, AudioLoss] => {
      if (name === "adv_msstftd") return [name, adversarial];
      if (name === "feat_msstftd") return [name, featureMatching];
      const loss = buildLoss(name, (config[name] as Json | undefined) ?? {});
      return [name, (fake) => loss(fake, real)];
    }),
  );
}

function weightsOf(config: Json, losses: Losses): Record<string, number> {
  const weights = config.losses as Record<string, number>;
  return Object.fromEntries(
    Object.keys(losses).map((name) => [name, weights[name.replace(/_msstftd$/, "")]]),
  );
}
