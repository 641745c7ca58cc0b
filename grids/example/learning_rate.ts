/** An example of a grid: the small model at three learning rates and two widths. `npm run xp -- grid example.learning_rate` */
import type { Explorer } from "../../src/xp/grid.ts";

export const explorer: Explorer = (launcher) => {
  launcher.bind_({ solver: "musicgen/tiny", "optim.epochs": 2 });
  for (const lr of [5e-4, 1e-3, 2e-3]) {
    const sub = launcher.bind({ "optim.lr": lr });
    sub();
    sub({ "transformer_lm.dim": 64 });
  }
};
