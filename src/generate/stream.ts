/** Audio to standard output while it is made. */
import { wavHeader } from "../data/audio/write_wav.ts";
import { terminal } from "../log/live_line.ts";
import type { StreamOptions } from "../models/musicgen/params.ts";
import type { MusicGen } from "../models/musicgen.ts";
import { pcm16 } from "./output.ts";
import { OutputClosed, StandardOutput } from "./standard_output.ts";

/** Streams one sample as 16-bit WAV, or without a header as PCM. A reader that goes away ends the work. */
export async function streamToOutput(
  musicgen: MusicGen,
  description: string | null,
  format: "wav" | "pcm",
  options: StreamOptions,
): Promise<void> {
  const { sampleRate, channels } = musicgen;
  const output = new StandardOutput();
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  let seconds = 0;
  try {
    for await (const chunk of musicgen.generateStream([description], { ...options, signal: output.signal })) {
      if (seconds === 0) {
        terminal.print(`first audio after ${elapsed().toFixed(2)} s\n`);
        if (format === "wav") await output.write(wavHeader(channels, sampleRate, chunk.totalSamples));
      }
      const [samples] = chunk.audio;
      seconds = chunk.start + samples[0].length / sampleRate;
      const total = chunk.totalSamples / sampleRate;
      terminal.update(
        `${seconds.toFixed(1)} of ${total.toFixed(1)} s | ${(seconds / elapsed()).toFixed(2)}x real time`,
      );
      await output.write(pcm16(samples));
    }
  } catch (error) {
    if (!(error instanceof OutputClosed)) throw error;
    terminal.print("the reader of standard output has closed it: stopped\n");
  } finally {
    terminal.clear();
  }
  process.stderr.write(
    `${seconds.toFixed(1)} s of audio in ${elapsed().toFixed(1)} s: ${(seconds / elapsed()).toFixed(2)}x real time\n`,
  );
}
