/** Export to one file of our own: the weights to generate from and the config, without what training needs. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { encodecSections } from "./encodec_sections.ts";
import type { ExportOptions } from "./huggingface.ts";
import type { TrainingRun } from "./provenance.ts";
import { type CodecSource, DTYPES, type MusicGenSource, tensorOf } from "./source.ts";
import { version } from "./version.ts";

/** A checkpoint that `model=<path>` and `continue_from=<path>` take. */
export async function exportCheckpoint(
  { lm, config, name, metadata, runs }: MusicGenSource,
  path: string,
  { dtype, onProgress }: ExportOptions,
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const tensors = lm.namedParameters().map(([name, p]) => tensorOf(`model.${name}`, p, DTYPES[dtype]));
  const { history, git_commit } = metadata;
  await writeSafetensors(
    path,
    tensors,
    {
      format: "musicgen-tfjs",
      "xp.cfg": config.toYaml(),
      "xp.sig": name,
      exported: version(),
      ...(history === undefined ? {} : { history }),
      ...(git_commit === undefined ? {} : { git_commit }),
      ...provenance(runs),
    },
    { onProgress },
  );
}

/** A codec file, as `compression_model_checkpoint=<path>` takes it. */
export async function exportCodecFile(
  { network, runs }: CodecSource,
  path: string,
  { dtype, onProgress }: ExportOptions,
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const tensors = network.namedParameters().map(([name, p]) => tensorOf(name, p, DTYPES[dtype]));
  const config = JSON.stringify(encodecSections(network.options));
  await writeSafetensors(path, tensors, { config, exported: version(), ...provenance(runs) }, { onProgress });
}

function provenance(runs: TrainingRun[]): Record<string, string> {
  return runs.length === 0 ? {} : { provenance: JSON.stringify(runs) };
}
