/** CRC-32 as in zip archives and PNG files (ISO 3309). */
import * as zlib from "node:zlib";

type Crc32 = (data: Uint8Array, value?: number) => number;

/** The checksum of `data`, going on from that of what came before. Node's own where it has one (10 times faster). */
export const crc32: Crc32 = (zlib as { crc32?: Crc32 }).crc32 ?? crc32Portable;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function crc32Portable(data: Uint8Array, value = 0): number {
  let crc = ~value;
  for (let i = 0; i < data.length; i++) crc = TABLE[(crc ^ data[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
