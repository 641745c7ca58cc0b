/** One line at the bottom of the terminal that changes in place, while other lines are printed above it. */
import { stripVTControlCharacters } from "node:util";

/** The part of `process.stderr` that is used. */
export interface TextStream {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

export class LiveLine {
  /** Whether the stream is a terminal that can change a line in place. */
  readonly isLive: boolean;
  /** Whether colours are written. */
  readonly hasColors: boolean;
  private readonly stream: TextStream;
  private line = "";

  constructor(stream: TextStream = process.stderr, env: NodeJS.ProcessEnv = process.env) {
    this.stream = stream;
    this.isLive = stream.isTTY === true && env.TERM !== "dumb";
    this.hasColors = this.isLive && !env.NO_COLOR;
  }

  /** Prints text that ends in a line break, above the live line. */
  print(text: string): void {
    const plain = this.hasColors ? text : stripVTControlCharacters(text);
    this.stream.write(this.line === "" ? plain : `${CLEAR}${plain}${this.line}`);
  }

  /** Shows another live line, cut to the width of the terminal; nothing where the stream is no terminal. */
  update(text: string): void {
    if (!this.isLive) return;
    this.line = text.slice(0, (this.stream.columns ?? 80) - 1);
    this.stream.write(CLEAR + this.line);
  }

  /** Takes the live line away. */
  clear(): void {
    if (this.line !== "") this.stream.write(CLEAR);
    this.line = "";
  }
}

/** Back to the beginning of the line, and erase it. */
const CLEAR = "\r\x1b[2K";

/** The terminal of this process. Everything that prints to stderr while a live line may be shown goes through it. */
export const terminal = new LiveLine();
