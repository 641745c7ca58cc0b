/** Ogg Vorbis and Ogg Opus: mediabunny finds the packets (bisection by granule position), wasm decoders decode them. */
import type { EncodedPacket, EncodedPacketSink, InputAudioTrack } from "mediabunny";
import { type AudioFile, type AudioInfo, AudioReadError, describeAudio } from "./audio.ts";
import { requireSaneLevel } from "./level.ts";
import { quietly } from "./quiet.ts";

/** Seconds decoded before an Opus segment for its predictors to converge (RFC 7845 asks for at least 80 ms). */
const OPUS_PREROLL = 1;

export class OggFile implements AudioFile {
  readonly info: AudioInfo;
  private path: string;
  private stream: OggStream;

  private constructor(path: string, stream: OggStream, info: AudioInfo) {
    this.path = path;
    this.stream = stream;
    this.info = info;
  }

  static async open(path: string): Promise<OggFile> {
    const stream = await OggStream.open(path);
    try {
      return new OggFile(
        path,
        stream,
        describeAudio(path, stream.sampleRate, stream.channels, await stream.frames()),
      );
    } catch (error) {
      stream.close();
      throw asReadError(path, error);
    }
  }

  get codec(): "opus" | "vorbis" {
    return this.stream.codec;
  }

  async read(start: number, frames: number): Promise<Float32Array[]> {
    try {
      const { packets, firstSample } = await this.stream.packets(start, start + frames);
      const decoded = await (this.stream.codec === "opus" ? decodeOpus : decodeVorbis)(
        packets,
        this.stream.setup,
      );
      const begin = start - firstSample;
      if (decoded.samplesDecoded < begin + frames) throw new Error("packets are missing");
      return requireSaneLevel(
        this.path,
        decoded.channelData.map((channel) => channel.subarray(begin, begin + frames)),
      );
    } catch (error) {
      throw asReadError(this.path, error);
    }
  }

  close(): void {
    this.stream.close();
  }
}

/** The demuxed audio stream of an Ogg file; positions count samples from the start of the music. */
class OggStream {
  readonly codec: "opus" | "vorbis";
  readonly sampleRate: number;
  readonly channels: number;
  /** The codec's header packets as mediabunny describes them. */
  readonly setup: Uint8Array;
  private sink: EncodedPacketSink;
  private track: InputAudioTrack;
  private dispose: () => void;

  private constructor(fields: {
    codec: "opus" | "vorbis";
    sampleRate: number;
    channels: number;
    setup: Uint8Array;
    sink: EncodedPacketSink;
    track: InputAudioTrack;
    dispose: () => void;
  }) {
    this.codec = fields.codec;
    this.sampleRate = fields.sampleRate;
    this.channels = fields.channels;
    this.setup = fields.setup;
    this.sink = fields.sink;
    this.track = fields.track;
    this.dispose = fields.dispose;
  }

  static async open(path: string): Promise<OggStream> {
    const { EncodedPacketSink, FilePathSource, Input, OGG } = await import("mediabunny");
    // Read failures reach us through the call that waits for the data.
    const source = new FilePathSource(path, { handleUnhandledError: () => {} });
    const input = new Input({ formats: [OGG], source });
    try {
      const track = await input.getPrimaryAudioTrack();
      if (!track) throw new AudioReadError(path, "it holds no Vorbis or Opus stream");
      const config = await track.getDecoderConfig();
      const codec = await track.getCodec();
      if (!config?.description || (codec !== "opus" && codec !== "vorbis"))
        throw new AudioReadError(path, `Ogg files with ${codec ?? "an unknown codec"} are not supported`);
      return new OggStream({
        codec,
        sampleRate: config.sampleRate,
        channels: config.numberOfChannels,
        setup: new Uint8Array(config.description as Uint8Array),
        sink: new EncodedPacketSink(track),
        track,
        dispose: () => input.dispose(),
      });
    } catch (error) {
      input.dispose();
      throw asReadError(path, error);
    }
  }

  async frames(): Promise<number> {
    return Math.round((await this.track.computeDuration()) * this.sampleRate);
  }

  /** The packets whose decoded samples cover [start, end), and the position of the first decoded sample. */
  async packets(start: number, end: number): Promise<{ packets: Uint8Array[]; firstSample: number }> {
    const opus = this.codec === "opus";
    let packet = await this.packetAt(opus ? start - OPUS_PREROLL * this.sampleRate : start);
    // A Vorbis packet overlaps with the one before it: the decoder gives nothing for the first packet that it sees.
    if (!opus) packet = await this.packetAt(this.position(packet) - 1);
    let firstSample = this.position(packet);
    if (firstSample <= 0) firstSample = opus ? -this.preSkip() : 0;
    else if (!opus) firstSample += Math.round(packet.duration * this.sampleRate);
    const packets: Uint8Array[] = [];
    for (let next: EncodedPacket | null = packet; next; next = await this.sink.getNextPacket(next)) {
      if (packets.length > 0 && this.position(next) >= end) break;
      packets.push(next.data);
    }
    return { packets, firstSample };
  }

  private async packetAt(position: number): Promise<EncodedPacket> {
    const packet = position > 0 ? await this.sink.getPacket(position / this.sampleRate) : null;
    // Several packets may share time 0 (those that hold no music yet): decoding begins with the first.
    if (packet && packet.timestamp > 0) return packet;
    const first = await this.sink.getFirstPacket();
    if (!first) throw new Error("it holds no packets");
    return first;
  }

  private position(packet: EncodedPacket): number {
    return Math.round(packet.timestamp * this.sampleRate);
  }

  /** Samples at the start of an Opus stream that are not music (RFC 7845, 5.1). */
  private preSkip(): number {
    return this.setup[10] | (this.setup[11] << 8);
  }

  close(): void {
    this.dispose();
  }
}

interface Decoded {
  channelData: Float32Array[];
  samplesDecoded: number;
}

async function decodeOpus(packets: Uint8Array[], header: Uint8Array): Promise<Decoded> {
  const { OpusDecoder } = await import("opus-decoder");
  const channels = header[9];
  // Mapping family 0 is plain mono or stereo; others list streams and a channel table (RFC 7845, 5.1.1).
  const mapping =
    header[18] === 0
      ? {}
      : {
          streamCount: header[19],
          coupledStreamCount: header[20],
          channelMappingTable: [...header.subarray(21, 21 + channels)],
        };
  const decoder = new OpusDecoder({ channels, ...mapping });
  await decoder.ready;
  try {
    const decoded = quietly(() => decoder.decodeFrames(packets));
    if (decoded.errors.length > 0) throw new Error(decoded.errors[0].message);
    return decoded;
  } finally {
    decoder.free();
  }
}

async function decodeVorbis(packets: Uint8Array[], description: Uint8Array): Promise<Decoded> {
  const { OggVorbisDecoder } = await import("@wasm-audio-decoders/ogg-vorbis");
  const decoder = new OggVorbisDecoder();
  await decoder.ready;
  try {
    const { identification, setup } = vorbisHeaders(description);
    // The decoder's page interface, with the two fields of a page and the one of a header that it reads.
    const frames = packets.map((data) => ({ data, header: { vorbisSetup: setup } }));
    const page = { data: identification, codecFrames: frames, isLastPage: false };
    type Pages = Parameters<typeof decoder.decodeOggPages>[0];
    return await decoder.decodeOggPages([page] as unknown as Pages);
  } finally {
    decoder.free();
  }
}

/** Splits "2, lacing of the first two sizes, identification, comments, setup" (Xiph lacing). */
function vorbisHeaders(description: Uint8Array): { identification: Uint8Array; setup: Uint8Array } {
  let at = 1;
  const size = () => {
    let total = 0;
    for (; description[at] === 255; at++) total += 255;
    return total + description[at++];
  };
  const [first, second] = [size(), size()];
  return {
    identification: description.subarray(at, at + first),
    setup: description.subarray(at + first + second),
  };
}

function asReadError(path: string, error: unknown): AudioReadError {
  if (error instanceof AudioReadError) return error;
  return new AudioReadError(path, `it is damaged or truncated (${(error as Error).message})`);
}
