/** T5's tokenizer: SentencePiece ids with `</s>` at the end, and the special tokens of T5 written out in the text. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { UserError } from "../../errors.ts";
import { padRows, type TokenBatch } from "../token_batch.ts";

/** The sentinels `<extra_id_0>` .. `<extra_id_99>` come after the pieces, in descending order. */
const SENTINELS = 100;

export interface T5Tokenizer {
  /** Pieces and sentinels. */
  readonly vocabSize: number;
  /** The ids of the text, ending in that of `</s>`. */
  encode(text: string): number[];
  /** Rows padded with `<pad>` to the longest. */
  encodeBatch(texts: readonly string[]): TokenBatch;
}

/**
 * Loads a SentencePiece model (`spiece.model`) that has T5's special pieces `<pad>`, `</s>` and `<unk>`.
 * @throws UserError when the file cannot be read or is no such model
 */
export async function loadT5Tokenizer(spieceModelPath: string): Promise<T5Tokenizer> {
  const pieces = readPieces(spieceModelPath);
  const special = specialTokens(spieceModelPath, pieces);
  const processor = await loadProcessor(spieceModelPath);
  if (processor.encodeIds(pieces[pieces.length - 1]).length === 0) {
    throw notAModel(spieceModelPath, "it does not encode its own last piece");
  }
  const eos = special.get("</s>")!;
  const pad = special.get("<pad>")!;

  function encode(text: string): number[] {
    const ids = text
      .split(SPECIAL_TOKEN)
      .flatMap((part) => special.get(part) ?? (part === "" ? [] : processor.encodeIds(part)));
    return [...ids, eos];
  }

  function encodeBatch(texts: readonly string[]): TokenBatch {
    return padRows(texts.map(encode), pad);
  }

  return { vocabSize: pieces.length + SENTINELS, encode, encodeBatch };
}

/** Splits a text at special tokens, which stay as parts of their own. */
const SPECIAL_TOKEN = /(<\/s>|<pad>|<unk>|<extra_id_(?:0|[1-9]\d?)>)/;

function specialTokens(path: string, pieces: string[]): Map<string, number> {
  const special = new Map<string, number>();
  for (const token of ["<pad>", "</s>", "<unk>"]) {
    const id = pieces.indexOf(token);
    if (id < 0) throw notAModel(path, `it has no piece ${token}`);
    special.set(token, id);
  }
  for (let n = 0; n < SENTINELS; n++) {
    special.set(`<extra_id_${n}>`, pieces.length + SENTINELS - 1 - n);
  }
  return special;
}

interface SentencePieceProcessor {
  load(path: string): Promise<void>;
  encodeIds(text: string): number[];
}

/**
 * The package starts one WebAssembly module per model and puts handlers for uncaught errors into the process, which
 * would turn every rejected promise of the program into a crash of its own making: those are taken out again.
 */
async function loadProcessor(path: string): Promise<SentencePieceProcessor> {
  const { SentencePieceProcessor } = createRequire(import.meta.url)("sentencepiece-js") as {
    SentencePieceProcessor: new () => SentencePieceProcessor;
  };
  const processor = new SentencePieceProcessor();
  const uncaught = process.listeners("uncaughtException");
  const unhandled = process.listeners("unhandledRejection");
  await processor.load(path);
  for (const listener of process.listeners("uncaughtException")) {
    if (!uncaught.includes(listener) && isEmscripten(listener)) process.off("uncaughtException", listener);
  }
  for (const listener of process.listeners("unhandledRejection")) {
    if (!unhandled.includes(listener) && isEmscripten(listener)) process.off("unhandledRejection", listener);
  }
  return processor;
}

/** Tells the handlers of a WebAssembly module from those that others may have added while it was loading. */
function isEmscripten(listener: unknown): boolean {
  return /ExitStatus|^function\s*\(reason\)\s*\{\s*throw reason/.test(String(listener));
}

/**
 * The pieces of a model file, by id. The package itself takes any file for a model and then encodes to nothing.
 * Layout: sentencepiece_model.proto, `repeated SentencePiece pieces = 1`, in it `string piece = 1`.
 */
function readPieces(path: string): string[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new UserError(`${path}: cannot read the T5 tokenizer model: ${(error as Error).message}`);
  }
  try {
    return fieldsOf(bytes, 1).map((piece) => Buffer.from(fieldsOf(piece, 1)[0]).toString("utf8"));
  } catch {
    throw notAModel(path, "it is damaged or something else");
  }
}

/** The length-delimited fields with one number in a protobuf message. */
function fieldsOf(message: Uint8Array, field: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === field && wireType === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(wireType, number);
  }
  if (reader.pos !== reader.len) throw new RangeError("cut short");
  return found;
}

function notAModel(path: string, reason: string): UserError {
  return new UserError(
    `${path}: not a T5 SentencePiece model (${reason}); fetch spiece.model again from the T5 repository`,
  );
}
