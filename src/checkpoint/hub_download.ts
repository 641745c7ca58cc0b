/** Downloading a file of the Hugging Face hub: resumed when it broke off, checked before it counts. */
import { createHash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../errors.ts";
import { writeError } from "./atomic_file.ts";
import { accessToken, blobPath, type HubFile, isCommit, placeInCache } from "./hub_cache.ts";

export type Progress = (bytesDone: number, bytesTotal: number) => void;

/** What the hub says: `missing` when it has no such file, in a commit that it names or not. */
export class HubRefusal extends UserError {
  readonly missing: boolean;
  readonly commit: string | null;

  constructor(message: string, missing = false, commit: string | null = null) {
    super(message);
    this.missing = missing;
    this.commit = commit;
  }
}

/** No answer from the hub: no network, wrong address, connection lost for good. */
export class HubUnreachable extends Error {}

/** The address of a file, as HF_ENDPOINT, the hub's mirror, or the hub itself has it. */
export function fileUrl({ repoId, filename, revision }: HubFile, env = process.env): string {
  const endpoint = (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, "");
  if (!URL.canParse(endpoint) || !/^https?:/.test(endpoint)) {
    throw new UserError(`HF_ENDPOINT: "${endpoint}" is not an address; it looks like https://huggingface.co`);
  }
  const path = filename.split("/").map(encodeURIComponent).join("/");
  return `${endpoint}/${repoId}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/**
 * Downloads a file into the cache and returns its path there.
 * @throws HubRefusal when the hub answers with an error, HubUnreachable when it does not answer, UserError when what
 * arrives is not what the hub announced or the disk refuses it
 */
export async function downloadToCache(cache: string, file: HubFile, onProgress?: Progress): Promise<string> {
  const announced = await announce(file);
  const blob = blobPath(cache, file.repoId, announced.etag);
  try {
    mkdirSync(dirname(blob), { recursive: true });
    await withLock(`${blob}.lock`, async () => {
      if (!existsSync(blob)) await downloadBlob(file, announced, blob, onProgress);
    });
    return await placeInCache(cache, file, announced.commit, blob);
  } catch (error) {
    throw writeError(blob, announced.size ?? 0, error as NodeJS.ErrnoException);
  }
}

interface Announced {
  commit: string;
  /** Names the content; for large files (LFS) it is the SHA-256 of the content. */
  etag: string;
  size: number | null;
}

/** Asks for commit, etag and size. Large files answer with a redirect to their store, which has other etags. */
async function announce(file: HubFile): Promise<Announced> {
  let url = fileUrl(file);
  for (let hops = 0; hops < 5; hops++) {
    const response = await request(file, url, {
      method: "HEAD",
      redirect: "manual",
      headers: { "accept-encoding": "identity" },
    });
    const location = response.headers.get("location");
    const target = location === null ? null : new URL(location, url);
    // a renamed repository redirects within the hub, before anything is known of the file
    if (target?.origin === new URL(url).origin && !response.headers.has("x-linked-etag")) {
      url = target.href;
      continue;
    }
    if (response.status >= 400) throw refusal(file, response);
    const etag = response.headers.get("x-linked-etag") ?? response.headers.get("etag");
    const commit = response.headers.get("x-repo-commit");
    if (!etag || !commit || !isCommit(commit)) {
      throw new UserError(`${url}: the answer is not that of a Hugging Face hub; check HF_ENDPOINT`);
    }
    const size = response.headers.get("x-linked-size") ?? response.headers.get("content-length");
    return { commit, etag: blobName(etag), size: size === null ? null : Number(size) };
  }
  throw new UserError(`${url}: too many redirects; check HF_ENDPOINT`);
}

/** An etag as a file name. */
function blobName(etag: string): string {
  const name = etag.replace(/^W\//, "").replaceAll('"', "");
  return /^[\w-]{8,}$/.test(name) ? name : createHash("sha256").update(etag).digest("hex").slice(0, 40);
}

async function downloadBlob(
  file: HubFile,
  announced: Announced,
  blob: string,
  onProgress?: Progress,
): Promise<void> {
  const incomplete = `${blob}.incomplete`;
  const descriptor = openSync(incomplete, existsSync(incomplete) ? "r+" : "w");
  try {
    const size = await fetchRest(file, announced, incomplete, descriptor, onProgress);
    if (announced.size !== null && size !== announced.size) {
      throw new UserError(`${fileUrl(file)}: ${announced.size} bytes announced, ${size} arrived; try again`);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  if (announced.etag.length === 64 && (await sha256(incomplete)) !== announced.etag) {
    rmSync(incomplete);
    throw new UserError(
      `${fileUrl(file)}: the SHA-256 of what arrived differs from the announced ${announced.etag}; ` +
        "it was thrown away, try again",
    );
  }
  renameSync(incomplete, blob);
}

/** So many connections in a row may break without having brought anything. */
const VAIN_TRIES = 3;

/** Fetches what the incomplete file lacks. A broken connection is taken up again. */
async function fetchRest(
  file: HubFile,
  announced: Announced,
  incomplete: string,
  descriptor: number,
  onProgress?: Progress,
): Promise<number> {
  // the commit that was announced, should the branch move on meanwhile
  const url = fileUrl({ ...file, revision: announced.commit });
  let size = statSync(incomplete).size;
  if (announced.size !== null && size > announced.size) {
    ftruncateSync(descriptor, 0);
    size = 0;
  }
  let vain = 0;
  while (size === 0 || announced.size === null || size < announced.size) {
    const start = size;
    try {
      const headers: Record<string, string> = { "accept-encoding": "identity" };
      if (start > 0) headers.range = `bytes=${start}-`;
      const response = await request(file, url, { headers });
      if (response.status === 416 && start > 0) {
        ftruncateSync(descriptor, 0);
        size = 0;
        continue;
      }
      if (!response.ok || !response.body) {
        await response.body?.cancel();
        throw refusal(file, response);
      }
      const resumed =
        response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${start}-`);
      if (!resumed) {
        ftruncateSync(descriptor, 0);
        size = 0;
      }
      for await (const chunk of response.body) {
        for (let done = 0; done < chunk.length; ) {
          done += writeSync(descriptor, chunk, done, chunk.length - done, size + done);
        }
        size += chunk.length;
        if (announced.size !== null && size > announced.size) {
          throw new UserError(`${url}: ${announced.size} bytes announced, more arrive; try again`);
        }
        onProgress?.(size, announced.size ?? size);
      }
      return size;
    } catch (error) {
      // a system error of our own has a code, one of the connection comes as a TypeError without
      if (error instanceof HubUnreachable || !(error instanceof TypeError)) throw error;
      vain = size > start ? 0 : vain + 1;
      if (vain === VAIN_TRIES) throw unreachable(error);
    }
  }
  return size;
}

/** The hub or its store is busy or has a hiccup. */
const PASSING = new Set([429, 500, 502, 503, 504]);
const TRIES = 5;
const LONGEST_WAIT_S = 60;

/** Asks again, after 1, 2, 4, … seconds or what the server wishes, when the answer is an error that passes. */
async function request(file: HubFile, url: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  const token = accessToken();
  // fetch takes it off when a redirect leads to another origin
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  for (let attempt = 1; ; attempt++) {
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers });
    } catch (error) {
      throw unreachable(error, `${new URL(fileUrl(file)).origin} does not answer`);
    }
    if (!PASSING.has(response.status) || attempt === TRIES) return response;
    await response.body?.cancel();
    const wished = Number(response.headers.get("retry-after") ?? Number.NaN);
    const seconds = Number.isFinite(wished) && wished >= 0 ? wished : 2 ** (attempt - 1);
    await sleep(1000 * Math.min(seconds, LONGEST_WAIT_S));
  }
}

function unreachable(error: unknown, what = "the connection broke off"): HubUnreachable {
  if (error instanceof HubUnreachable) return error;
  const { cause, message } = error as Error;
  const reason = cause instanceof Error && cause.message ? cause.message : message;
  return new HubUnreachable(`${what} (${reason})`, { cause: error });
}

function refusal(file: HubFile, response: Response): HubRefusal {
  const { repoId, filename, revision } = file;
  const { status } = response;
  const code = response.headers.get("x-error-code");
  if (status === 401 || status === 403 || code === "GatedRepo") {
    return new HubRefusal(
      `${repoId}: the hub refuses access (HTTP ${status}): the repository is private, gated or misspelt; ` +
        `${process.env.HF_TOKEN ? "check that HF_TOKEN is valid and" : "set HF_TOKEN to an access token and check that it"} ` +
        "may read this repository",
    );
  }
  if (status === 404 && code === "RepoNotFound") {
    return new HubRefusal(`${repoId}: no such repository on the hub; check the name`);
  }
  if (status === 404 && code === "RevisionNotFound") {
    return new HubRefusal(`${repoId}: no revision "${revision}" on the hub; check the name`);
  }
  if (status === 404) {
    const commit = response.headers.get("x-repo-commit");
    return new HubRefusal(
      `${repoId}: no file "${filename}" in revision ${revision} on the hub`,
      true,
      code === "EntryNotFound" && commit !== null && isCommit(commit) ? commit : null,
    );
  }
  return new HubRefusal(`${fileUrl(file)}: the hub answers HTTP ${status}; try again later`);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 4 << 20 })) hash.update(chunk);
  return hash.digest("hex");
}

/** A lock that its holder has not touched for this long belongs to a process that is gone. */
const STALE_MS = 30_000;

/** Runs `action` in one process at a time: the ranks of a run ask for the same files at the same moment. */
async function withLock(path: string, action: () => Promise<void>): Promise<void> {
  while (!tryLock(path)) {
    if (lockAge(path) > STALE_MS) rmSync(path, { force: true });
    else await sleep(200);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    if (existsSync(path)) utimesSync(path, now, now);
  }, STALE_MS / 6);
  try {
    await action();
  } finally {
    clearInterval(heartbeat);
    rmSync(path, { force: true });
  }
}

function tryLock(path: string): boolean {
  try {
    writeFileSync(path, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function lockAge(path: string): number {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}
