/** The log: readable lines on the terminal, and in a file in the form of AudioCraft's `solver.log.0`. */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { inspect, stripVTControlCharacters } from "node:util";
import pino from "pino";
import { type PrettyOptions, prettyFactory } from "pino-pretty";
import { UserError } from "../errors.ts";
import { type LiveLine, terminal as stderr } from "./live_line.ts";

export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  /** An error's stack follows the message. */
  error(message: string, error?: unknown): void;
  /** A logger of another name to the same places. */
  named(name: string): Logger;
  /** Closes the file; for all loggers that share it. */
  close(): void;
}

export interface LoggerOptions {
  name?: string;
  /** debug, info, warning, error or critical, in any case (`logging.level`). */
  level?: string;
  /** A file to append to. */
  file?: string | null;
  /** Where readable lines go; null for a process that should stay silent (the other ranks of a run). */
  terminal?: LiveLine | null;
}

/** Python's names of the levels, which the lines show, and pino's. */
const LEVELS = { DEBUG: "debug", INFO: "info", WARNING: "warn", ERROR: "error", CRITICAL: "fatal" } as const;
const LEVEL_COLORS: Record<string, number> = { DEBUG: 37, INFO: 32, WARNING: 33, ERROR: 31, CRITICAL: 31 };

/**
 * Every line is written before the call returns, so that nothing is lost when the process ends by force.
 * @throws UserError for an unknown level, or a file that cannot be opened
 */
export function createLogger({
  name = "musicgen",
  level = "info",
  file = null,
  terminal = stderr,
}: LoggerOptions = {}): Logger {
  const descriptor = file === null ? null : openLog(file);
  const streams: { level: pino.Level; stream: { write(line: string): void } }[] = [];
  const pinoLevel = levelOf(level);
  if (terminal !== null) streams.push({ level: pinoLevel, stream: terminalStream(terminal) });
  if (descriptor !== null)
    streams.push({ level: pinoLevel, stream: fileStream(file!, descriptor, terminal) });
  const root = pino({ base: null, level: pinoLevel }, pino.multistream(streams));
  return wrap(root, name, () => {
    if (descriptor !== null) closeSync(descriptor);
  });
}

function wrap(root: pino.Logger, name: string, close: () => void): Logger {
  const logger = root.child({ name });
  return {
    debug: (message) => logger.debug(message),
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message, error) => logger.error(error === undefined ? message : `${message}\n${inspect(error)}`),
    named: (other) => wrap(root, other, close),
    close,
  };
}

/** `[MM-DD HH:MM:SS][logger][LEVEL] - message`, in local time. */
function lineFormat(hasColors: boolean): PrettyOptions {
  const paint = (color: number, text: string) => (hasColors ? `\x1b[${color}m${text}\x1b[0m` : text);
  return {
    colorize: false, // the package would colour the whole line
    ignore: "time,level,name,pid,hostname",
    messageFormat(log, messageKey) {
      const level = pythonLevel(Number(log.level));
      const time = paint(36, localTime(new Date(Number(log.time))));
      const name = paint(34, String(log.name));
      return `[${time}][${name}][${paint(LEVEL_COLORS[level], level)}] - ${log[messageKey]}`;
    },
  };
}

function localTime(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function pythonLevel(value: number): string {
  const label = pino.levels.labels[value];
  return Object.entries(LEVELS).find(([, pinoName]) => pinoName === label)?.[0] ?? "INFO";
}

function levelOf(level: string): pino.Level {
  const upper = level.toUpperCase();
  if (Object.hasOwn(LEVELS, upper)) return LEVELS[upper as keyof typeof LEVELS];
  const known = Object.keys(LEVELS).join(", ").toLowerCase();
  throw new UserError(`logging.level is "${level}"; known levels: ${known}`);
}

function terminalStream(terminal: LiveLine) {
  const pretty = prettyFactory(lineFormat(terminal.hasColors));
  return { write: (line: string) => terminal.print(pretty(line)) };
}

/** A log that cannot be written must not end a training run: it is said once, and the run goes on without. */
function fileStream(path: string, descriptor: number, terminal: LiveLine | null) {
  const pretty = prettyFactory(lineFormat(false));
  let failed = false;
  return {
    write(line: string) {
      if (failed) return;
      try {
        writeSync(descriptor, stripVTControlCharacters(pretty(line)));
      } catch (error) {
        failed = true;
        terminal?.print(`${path}: cannot write the log any more: ${(error as Error).message}\n`);
      }
    },
  };
}

function openLog(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, "a");
  } catch (error) {
    throw new UserError(`${path}: cannot open the log file: ${(error as Error).message}`);
  }
}
