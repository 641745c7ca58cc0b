/** README.md of an export: what the model is, how to use it, where it came from. */

import { isAbsolute } from "node:path";
import type { ComposedConfig } from "../config/index.ts";
import type { CodecSource, MusicGenSource } from "./source.ts";
import { version } from "./version.ts";

export function modelCard(source: MusicGenSource): string {
  const { name, epochs, cfg, config, lm } = source;
  const { transformer_lm: t } = cfg;
  const rows: [string, string][] = [
    ["model", name],
    ...(epochs > 0 ? [["epochs of training", String(epochs)] as [string, string]] : []),
    ...Object.entries(source.provenance),
    ["parameters", `${(lm.parameterCount() / 1e6).toFixed(1)} M`],
    ["transformer", `${t.num_layers} layers of ${t.dim}, ${t.num_heads} heads`],
    ["codes", `${t.n_q} codebooks of ${t.card}`],
    ["audio", `${cfg.sample_rate} Hz, ${cfg.channels === 2 ? "stereo" : "mono"}`],
    ["trained on segments of", `${cfg.dataset.segment_duration} s`],
    ["exported by", `musicgen-tfjs ${version()}`],
  ];
  return `---
library_name: transformers
pipeline_tag: text-to-audio
tags:
- musicgen
---

# ${name}

A MusicGen language model ([arXiv 2306.05284](https://arxiv.org/abs/2306.05284)) with its text encoder and codec.

${table(rows)}

\`\`\`python
from transformers import AutoProcessor, AutoModelForTextToWaveform

processor = AutoProcessor.from_pretrained("this folder")
model = AutoModelForTextToWaveform.from_pretrained("this folder")
inputs = processor(text=["a description"], padding=True, return_tensors="pt")
audio = model.generate(**inputs, max_new_tokens=256)
\`\`\`

## Config

\`\`\`yaml
${withoutFolders(config).toYaml().trimEnd()}
\`\`\`
`;
}

/** Where the text encoder and the codec lay on this machine is of no use to others: they are in the same folder now. */
function withoutFolders(config: ComposedConfig): ComposedConfig {
  const t5 = "conditioners.description.t5.name";
  const isFolder = (key: string) => config.has(key) && isAbsolute(String(config.get(key)));
  const codec = "compression_model_checkpoint";
  return config.merged({
    ...(isFolder(codec) && !String(config.get(codec)).startsWith("//") ? { [codec]: "." } : {}),
    ...(isFolder(t5) ? { conditioners: { description: { t5: { name: "." } } } } : {}),
  });
}

export function codecCard({ name, network }: CodecSource): string {
  const rows: [string, string][] = [
    ["codec", name],
    ["audio", `${network.sampleRate} Hz, ${network.channels} channels`],
    [
      "codes",
      `${network.totalCodebooks} codebooks of ${network.cardinality}, ${network.frameRate} frames a second`,
    ],
    ["exported by", `musicgen-tfjs ${version()}`],
  ];
  return `---
library_name: transformers
tags:
- encodec
---

# ${name}

An EnCodec ([arXiv 2210.13438](https://arxiv.org/abs/2210.13438)).

${table(rows)}
`;
}

function table(rows: [string, string][]): string {
  return ["| | |", "|---|---|", ...rows.map(([key, value]) => `| ${key} | ${value} |`)].join("\n");
}
