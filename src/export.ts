/**
 * `npm run export -- MODEL --format hf|audiocraft|safetensors [--out FOLDER] [--dtype float32|float16|bfloat16]`: a trained or published
 * model, or a codec alone, as other programs load it.
 */
import { join, relative, resolve } from "node:path";
import { PROJECT_ROOT } from "./config/index.ts";
import { UserError } from "./errors.ts";
import type { ExportOptions } from "./export/huggingface.ts";
import type { CodecSource, DtypeName, MusicGenSource } from "./export/source.ts";
import { terminal } from "./log/live_line.ts";
import { configureRuntime } from "./runtime/options.ts";

const help = `usage: npm run export -- [MODEL] --format FORMAT [--out FOLDER] [--dtype TYPE]

  MODEL      run signature, checkpoint, folder, or a published model     the newest checkpoint
             (facebook/musicgen-small); a codec: //pretrained/facebook/encodec_32khz,
             //embedded/encodec_tiny_16khz, or its folder or file
  --format   hf            a folder for transformers' from_pretrained: weights, text encoder, codec, tokenizer
             audiocraft    state_dict.bin and compression_state_dict.bin for audiocraft's get_pretrained
             safetensors   one file of this program: the weights to generate from, and the config
  --out      folder (for safetensors also a file)                        exports/<model>-<format>
  --dtype    float32, float16 or bfloat16                                float32
`;

const FORMATS = ["hf", "audiocraft", "safetensors"] as const;
const DTYPE_NAMES = ["float32", "float16", "bfloat16"] as const satisfies readonly DtypeName[];

interface Arguments {
  model: string | null;
  format: (typeof FORMATS)[number];
  out: string | null;
  dtype: DtypeName;
}

export async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(help);
    return 0;
  }
  const { model, format, out, dtype } = parseArguments(argv);
  configureRuntime({ device: "cpu", jit: "auto" });
  const source = await loadSource(model);
  const name = source.name.replace(/[^\w.-]+/g, "-");
  const target = resolve(PROJECT_ROOT, out ?? join("exports", `${name}-${format}`));
  const isFile = format === "safetensors" && target.endsWith(".safetensors");
  const file = isFile
    ? target
    : join(target, source.kind === "codec" ? "codec.safetensors" : "checkpoint.safetensors");
  const options: ExportOptions = {
    dtype,
    onProgress: (done, total) =>
      terminal.update(`writing ${(done / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`),
    warn: (message) => {
      terminal.clear();
      process.stderr.write(`warning: ${message}\n`);
    },
  };
  try {
    await write(source, format, { target, file, spec: model }, options);
  } finally {
    terminal.clear();
  }
  const written = format === "safetensors" ? file : target;
  process.stdout.write(`${relative(process.cwd(), written) || written}\n`);
  return 0;
}

async function write(
  source: CodecSource | MusicGenSource,
  format: Arguments["format"],
  to: { target: string; file: string; spec: string | null },
  options: ExportOptions,
): Promise<void> {
  if (format === "hf") {
    const { exportHfCodec, exportHfMusicGen } = await import("./export/huggingface.ts");
    if (source.kind === "codec") await exportHfCodec(source, to.target, options);
    else await exportHfMusicGen(source, to.target, options);
  } else if (format === "audiocraft") {
    const { exportAudiocraftCodec, exportAudiocraftMusicGen } = await import("./export/audiocraft.ts");
    if (source.kind === "codec") await exportAudiocraftCodec(source, to.target, options);
    else await exportAudiocraftMusicGen(source, to.target, options);
  } else {
    const { exportCheckpoint, exportCodecFile } = await import("./export/safetensors.ts");
    if (source.kind === "codec") await exportCodecFile(source, to.file, options);
    else await exportCheckpoint(source, to.file, options);
  }
}

/** TensorFlow is loaded by these imports, after its options are known. */
async function loadSource(name: string | null): Promise<CodecSource | MusicGenSource> {
  const [{ codecSpec }, { loadCodecSource, loadMusicGenSource }] = await Promise.all([
    import("./export/kind.ts"),
    import("./export/source.ts"),
  ]);
  const spec = name === null ? null : await codecSpec(name);
  return spec === null ? await loadMusicGenSource(name) : await loadCodecSource(spec);
}

function parseArguments(argv: string[]): Arguments {
  const given: Record<string, string> = {};
  for (let i = 0; i < argv.length; i++) {
    const [, name, inline] = /^(?:--)?(format|out|dtype|model)=([\s\S]*)$/.exec(argv[i]) ?? [];
    if (name !== undefined) {
      given[name] = inline;
    } else if (argv[i].startsWith("--")) {
      const option = argv[i].slice(2);
      if (!["format", "out", "dtype", "model"].includes(option))
        throw new UserError(`export has no option --${option}; it has --format, --out and --dtype`);
      if (argv[i + 1] === undefined) throw new UserError(`--${option} needs a value`);
      given[option] = argv[++i];
    } else if (given.model === undefined) {
      given.model = argv[i];
    } else {
      throw new UserError(`export takes one model, not ${given.model} and ${argv[i]}`);
    }
  }
  if (given.format === undefined) throw new UserError(`give a format: --format ${FORMATS.join("|")}`);
  return {
    model: given.model ?? null,
    format: choice("format", given.format, FORMATS),
    out: given.out ?? null,
    dtype: choice("dtype", given.dtype ?? "float32", DTYPE_NAMES),
  };
}

function choice<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((option) => option === value);
  if (found !== undefined) return found;
  throw new UserError(`--${name} ${value}: use ${allowed.join(", ")}`);
}
