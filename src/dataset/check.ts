/** Checks the files of manifests: reads each once and collects what is wrong with it. */
import { runOnFiles } from "../data/file_jobs.ts";
import { type AudioMeta, findManifest, readManifest, readRows } from "../data/manifest.ts";
import { cleanList, cleanMusicInfo } from "../data/music_info.ts";
import { readSidecar, sidecarPath } from "../data/sidecar.ts";
import type { Inspection } from "./inspect_file.ts";
import { nearDuplicates } from "./near_duplicates.ts";

/** What can be wrong, in the order of reports. */
export const PROBLEMS = {
  broken: "cannot be read",
  duration: "another duration than the manifest says",
  rate: "another sample rate than the manifest says",
  silence: "nothing but silence",
  "mostly-silence": "silence for more than half of the time",
  clipping: "more than 0.05 % of the samples at full scale",
  duplicate: "the same samples as another file",
  "near-duplicate": "the same beginning as another file, by ear",
  "no-description": "no song.json beside song.wav, or none in it",
} as const;
export type Problem = keyof typeof PROBLEMS;

export interface Finding {
  problem: Problem;
  path: string;
  detail: string;
}

export interface CheckedFile {
  /** The row as it is written in the manifest. */
  row: AudioMeta;
  /** Where the file is. */
  path: string;
  manifest: string;
  /** Undefined for a broken file. */
  inspection: Inspection | undefined;
  findings: Finding[];
}

const SILENT_SHARE = 0.99;
const MOSTLY_SILENT_SHARE = 0.5;
const CLIPPED_SHARE = 5e-4;
/** Of durations, in seconds and relative: lossy formats pad. */
const DURATION_TOLERANCE = { seconds: 0.2, ratio: 0.01 };

export interface CheckOptions {
  workers?: number;
  onProgress?: (done: number, total: number) => void;
}

/** All files of the manifests, in their order. Throws UserError for a manifest that cannot be read. */
export async function checkManifests(
  manifests: string[],
  options: CheckOptions = {},
): Promise<CheckedFile[]> {
  const files = manifests.flatMap((manifest) => {
    const written = readRows(findManifest(manifest));
    return readManifest(manifest).map(({ path }, i) => ({ path, row: written[i], manifest }));
  });
  const module = new URL("./inspect_file.ts", import.meta.url);
  const paths = [...new Set(files.map(({ path }) => path))];
  const read = await runOnFiles<undefined, Inspection>(module, undefined, paths, options);
  const outcomes = new Map(paths.map((path, i) => [path, read[i]]));
  const checked = files.map((file): CheckedFile => {
    const outcome = outcomes.get(file.path)!;
    const inspection = "value" in outcome ? outcome.value : undefined;
    const found =
      "error" in outcome
        ? [["broken", reason(outcome.error, file.path)] as const]
        : judge(file.row, outcome.value);
    const text = describe(file.path);
    const all = text === undefined ? found : [...found, ["no-description", text] as const];
    const findings = all.map(([problem, detail]) => ({ problem, path: file.path, detail }));
    return { ...file, inspection, findings };
  });
  findDuplicates(checked);
  return checked;
}

function judge(row: AudioMeta, found: Inspection): (readonly [Problem, string])[] {
  const problems: [Problem, string][] = [];
  const allowed = Math.max(DURATION_TOLERANCE.seconds, DURATION_TOLERANCE.ratio * row.duration);
  if (Math.abs(found.duration - row.duration) > allowed)
    problems.push(["duration", `${seconds(found.duration)}, the manifest says ${seconds(row.duration)}`]);
  if (row.sampleRate !== null && row.sampleRate !== found.sampleRate)
    problems.push(["rate", `${found.sampleRate} Hz, the manifest says ${row.sampleRate} Hz`]);
  if (found.silence >= SILENT_SHARE) problems.push(["silence", `peak ${found.peak.toExponential(1)}`]);
  else if (found.silence >= MOSTLY_SILENT_SHARE) problems.push(["mostly-silence", percent(found.silence)]);
  if (found.clipping > CLIPPED_SHARE)
    problems.push(["clipping", `${percent(found.clipping)} of the samples`]);
  return problems;
}

/** What is wrong with the description of an audio file, if anything. */
function describe(audio: string): string | undefined {
  const path = sidecarPath(audio);
  try {
    const sidecar = readSidecar(path);
    if (!sidecar) return `there is no ${path}`;
    const described = cleanMusicInfo(sidecar).description ?? cleanList(sidecar.description);
    return described ? undefined : `${path} has no "description"`;
  } catch (error) {
    return `${path}: ${(error as Error).message}`;
  }
}

/** Blames all files of a group but the first. Silence is like any other silence, and is blamed for that already. */
function findDuplicates(files: CheckedFile[]): void {
  const audible = files.filter(({ inspection }) => inspection && inspection.silence < SILENT_SHARE);
  const originals = new Map<string, CheckedFile>();
  const distinct: CheckedFile[] = [];
  for (const file of audible) {
    const { hash } = file.inspection!;
    const original = originals.get(hash);
    if (original) blame(file, "duplicate", original);
    else {
      originals.set(hash, file);
      distinct.push(file);
    }
  }
  for (const group of nearDuplicates(distinct.map(({ inspection }) => inspection!.fingerprint)))
    for (const other of group.slice(1)) blame(distinct[other], "near-duplicate", distinct[group[0]]);
}

function blame(file: CheckedFile, problem: Problem, original: CheckedFile): void {
  const where = file.manifest === original.manifest ? "" : ` in ${original.manifest}`;
  const detail = file.path === original.path ? `listed before${where}` : `like ${original.path}${where}`;
  file.findings.push({ problem, path: file.path, detail });
}

/** Rows without the files that have one of these problems, with durations, rates and amplitudes as found. */
export function cleanedRows(files: readonly CheckedFile[], drop: readonly Problem[]): AudioMeta[] {
  return files
    .filter(({ findings }) => !findings.some(({ problem }) => drop.includes(problem)))
    .map(({ row, inspection }) =>
      inspection
        ? {
            ...row,
            duration: inspection.duration,
            sampleRate: inspection.sampleRate,
            amplitude: inspection.peak,
          }
        : row,
    );
}

/** An error's message without the name of its file. */
function reason(message: string, path: string): string {
  return message.replace(`cannot read audio file ${path}: `, "");
}

function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(2)} %`;
}
