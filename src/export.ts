/**
 * `npm run export -- MODEL --format hf|audiocraft|safetensors [--out FOLDER] [--dtype float32|float16|bfloat16]`: a trained or published
 * model, or a codec alone, as other programs load it.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { writeError } from "./checkpoint/atomic_file.ts";
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

export interface ExportArguments {
  /** null: the newest checkpoint. */
  model: string | null;
  format: (typeof FORMATS)[number];
  /** null: a folder named after the model and the format. */
  out: string | null;
  dtype: DtypeName;
}

export async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(help);
    return 0;
  }
  const options = parseArguments(argv);
  configureRuntime({ device: "cpu", jit: "auto" });
  const written = await exportModel(options);
  process.stdout.write(`${relative(process.cwd(), written) || written}\n`);
  return 0;
}

/** Writes the export; returns its file or folder. */
export async function exportModel({ model, format, out, dtype }: ExportArguments): Promise<string> {
  if (out !== null && format !== "safetensors") checkFolder(resolve(PROJECT_ROOT, out));
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
    await write(source, format, { target, file }, options);
  } catch (error) {
    throw writeError(target, 0, error as NodeJS.ErrnoException);
  } finally {
    terminal.clear();
  }
  return format === "safetensors" ? file : target;
}

/** An export brings a README.md, a config.json, …: it goes where nothing is, or over an export. @throws UserError */
function checkFolder(folder: string): void {
  if (!existsSync(folder)) return;
  if (!statSync(folder).isDirectory()) throw new UserError(`--out ${folder} is a file, a folder is needed`);
  const files = readdirSync(folder);
  const isExport = ["config.json", "state_dict.bin", "compression_state_dict.bin"].some((name) =>
    files.includes(name),
  );
  if (files.length > 0 && !isExport)
    throw new UserError(`--out ${folder} holds other files (${files[0]}, …); name a new or an empty folder`);
}

async function write(
  source: CodecSource | MusicGenSource,
  format: ExportArguments["format"],
  to: { target: string; file: string },
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

function parseArguments(argv: string[]): ExportArguments {
  const given: Record<string, string> = {};
  for (let i = 0; i < argv.length; i++) {
    const [, name, inline] = /^(?:--)?(format|out|dtype|model)=([\s\S]*)$/.exec(argv[i]) ?? [];
    if (name !== undefined) {
      given[name] = inline;
    } else if (argv[i].startsWith("-")) {
      const option = argv[i].replace(/^--/, "");
      if (!["format", "out", "dtype", "model"].includes(option))
        throw new UserError(`export has no option ${argv[i]}; it has --format, --out and --dtype`);
      if (argv[i + 1] === undefined) throw new UserError(`--${option} needs a value`);
      given[option] = argv[++i];
    } else if (given.model === undefined) {
      given.model = argv[i];
    } else {
      throw new UserError(`export takes one model, not ${given.model} and ${argv[i]}`);
    }
  }
  const empty = Object.keys(given).find((name) => given[name] === "");
  if (empty !== undefined) throw new UserError(`--${empty} is empty`);
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
