/** The `tokenizer.json` of Hugging Face's fast tokenizers, of T5's kind, as the SentencePiece model that it was made from. */
import { readFileSync } from "node:fs";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { UserError } from "../../errors.ts";

/** Of sentencepiece_model.proto, `SentencePiece.Type`. */
const PIECE_TYPE = { normal: 1, unknown: 2, control: 3 };
const UNIGRAM = 1;

/**
 * The bytes of a `spiece.model` with the same pieces, scores and normalization. T5's sentinels, which the fast tokenizer
 * has in its vocabulary and SentencePiece has not, are left out.
 * @throws UserError when the file is no Unigram tokenizer with a precompiled character map
 */
export function spieceModelOf(tokenizerJsonPath: string): Uint8Array {
  const fail = (reason: string) =>
    new UserError(`${tokenizerJsonPath}: not a tokenizer.json of T5 (${reason})`);
  let json: { model?: { type?: string; unk_id?: number; vocab?: [string, number][] }; normalizer?: unknown };
  try {
    json = JSON.parse(readFileSync(tokenizerJsonPath, "utf8"));
  } catch (error) {
    throw fail((error as Error).message);
  }
  const { type, vocab, unk_id: unknown } = json.model ?? {};
  if (type !== "Unigram" || !Array.isArray(vocab))
    throw fail(`its model is ${type ?? "missing"}, not Unigram`);
  const charsMap = precompiledMap(json.normalizer);
  if (charsMap === null) throw fail("it has no precompiled_charsmap");
  const pieces = vocab.filter(([piece]) => !/^<extra_id_\d+>$/.test(piece));
  const model = new BinaryWriter();
  for (const [id, [piece, score]] of pieces.entries()) {
    const kind =
      id === unknown
        ? PIECE_TYPE.unknown
        : /^<(pad|\/s|s)>$/.test(piece)
          ? PIECE_TYPE.control
          : PIECE_TYPE.normal;
    model.tag(1, WireType.LengthDelimited).fork();
    model.tag(1, WireType.LengthDelimited).string(piece);
    model.tag(2, WireType.Bit32).float(score);
    model.tag(3, WireType.Varint).int32(kind).join();
  }
  const idOf = (piece: string) => pieces.findIndex(([text]) => text === piece);
  model.tag(2, WireType.LengthDelimited).fork(); // trainer_spec: model_type, and the ids of the special pieces
  for (const [field, value] of [
    [3, UNIGRAM],
    [4, pieces.length],
    [40, unknown ?? idOf("<unk>")],
    [41, -1],
    [42, idOf("</s>")],
    [43, idOf("<pad>")],
  ]) {
    model.tag(field, WireType.Varint).int32(value);
  }
  model.join();
  model.tag(3, WireType.LengthDelimited).fork(); // normalizer_spec
  model.tag(1, WireType.LengthDelimited).string("nmt_nfkc");
  model.tag(2, WireType.LengthDelimited).bytes(charsMap).join();
  return model.finish();
}

/** The normalizer is the map alone, or a sequence that begins with it. */
function precompiledMap(normalizer: unknown): Buffer | null {
  const { type, normalizers, precompiled_charsmap } = (normalizer ?? {}) as Record<string, unknown>;
  if (type === "Sequence" && Array.isArray(normalizers)) {
    return normalizers.map(precompiledMap).find((map) => map !== null) ?? null;
  }
  return typeof precompiled_charsmap === "string" ? Buffer.from(precompiled_charsmap, "base64") : null;
}
