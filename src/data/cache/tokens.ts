/** A record of tokens: codes of a codec, and what is known of the audio that they are of. */

/** int16 [K, T], planar. */
export interface Codes {
  values: Int16Array<ArrayBuffer>;
  codebooks: number;
  frames: number;
}

/** In the index. */
export interface TokenEntry {
  /** K, T */
  shape: [number, number];
  /** Bytes of the JSON, which stands before the codes. */
  info: number;
}

/** JSON, filled with blanks to an even length, then the codes: int16, little-endian. */
export function encodeTokens(codes: Codes, info: unknown): { bytes: Uint8Array; entry: TokenEntry } {
  const json = Buffer.from(JSON.stringify(info));
  const length = json.length + (json.length % 2);
  const { values, codebooks, frames } = codes;
  const bytes = Buffer.alloc(length + values.byteLength, " ");
  bytes.set(json);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), length);
  return { bytes, entry: { shape: [codebooks, frames], info: length } };
}

export function decodeTokens<Info>(
  bytes: Uint8Array<ArrayBuffer>,
  { shape: [codebooks, frames], info }: TokenEntry,
): { codes: Codes; info: Info } {
  const values = new Int16Array(bytes.buffer.slice(bytes.byteOffset + info, bytes.byteOffset + bytes.length));
  const json = Buffer.from(bytes.buffer, bytes.byteOffset, info).toString("utf8");
  return { codes: { values, codebooks, frames }, info: JSON.parse(json) };
}

/** int32 [K, T] of a codec as int16. @throws RangeError for a code that does not fit */
export function toCodes(values: Int32Array, codebooks: number): Codes {
  const short = Int16Array.from(values);
  const wrong = values.findIndex((value, i) => value !== short[i]);
  if (wrong >= 0) throw new RangeError(`the code ${values[wrong]} does not fit into 16 bits`);
  return { values: short, codebooks, frames: values.length / codebooks };
}

/** Frames `start` to `start + frames`. */
export function cutCodes({ values, codebooks, frames: total }: Codes, start: number, frames: number): Codes {
  const cut = new Int16Array(codebooks * frames);
  for (let k = 0; k < codebooks; k++) {
    cut.set(values.subarray(k * total + start, k * total + start + frames), k * frames);
  }
  return { values: cut, codebooks, frames };
}
