/** Two experiments side by side: the settings and the last metrics in which they differ. */
import { pythonJson } from "../config/json.ts";
import { type ConfigNode, keyText, MappingNode, ValueNode } from "../config/node.ts";
import { resolvedCopy } from "../config/resolve.ts";
import { composeTrainConfig } from "../config/train-config.ts";
import { type Experiment, readHistory } from "./folder.ts";

export interface Difference {
  key: string;
  /** The values as JSON, or a number's text; undefined where an experiment has no such key. */
  values: (string | undefined)[];
}

/** The keys (dotted, sorted) whose resolved values differ between the configs of the experiments. */
export function configDifferences(experiments: Experiment[]): Difference[] {
  return differing(
    experiments.map(({ argv }) => {
      const config = composeTrainConfig(argv);
      return new Map(leaves(resolvedCopy(config.root, { keepMissing: true }), ""));
    }),
  );
}

/** The metrics of the last epoch of each, those that differ. A stage's metric is `stage.metric`. */
export function metricDifferences(experiments: Experiment[]): Difference[] {
  return differing(
    experiments.map(({ dir }) => {
      const history = readHistory(dir);
      const last = Object.entries(history.at(-1) ?? {}).flatMap(([stage, metrics]) =>
        Object.entries(metrics).map(([name, value]): [string, string] => [
          `${stage}.${name}`,
          numberText(value),
        ]),
      );
      return new Map([["epochs", String(history.length)], ...last]);
    }),
  );
}

function differing(maps: Map<string, string>[]): Difference[] {
  const keys = new Set(maps.flatMap((map) => [...map.keys()]));
  return [...keys]
    .sort()
    .map((key) => ({ key, values: maps.map((map) => map.get(key)) }))
    .filter(({ values }) => values.some((value) => value !== values[0]));
}

function* leaves(node: ConfigNode, path: string): Generator<[string, string]> {
  if (node instanceof MappingNode && (node.size > 0 || path === "")) {
    for (const [key, child] of node.entries())
      yield* leaves(child, path === "" ? keyText(key) : `${path}.${keyText(key)}`);
  } else if (node instanceof ValueNode && typeof node.value === "string") yield [path, node.value];
  else yield [path, pythonJson(node)];
}

function numberText(value: number): string {
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : JSON.stringify(value);
}
