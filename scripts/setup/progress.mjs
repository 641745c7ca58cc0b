// Progress of set-up on stderr: one line per step with sizes and time; live on a terminal, plain lines otherwise.

/** @param stream where to write; @param live true to rewrite the current line in place. */
export function createProgress(
  stream = process.stderr,
  live = stream.isTTY === true,
  now = () => performance.now(),
) {
  let shown = false; // a live line stands without its newline
  const clear = () => {
    if (shown) stream.write("\r\x1b[2K");
    shown = false;
  };
  const say = (text) => {
    clear();
    stream.write(`${text}\n`);
  };

  /** A step that takes a while (`doing`: the word for it): `update` as it goes, then `done`. */
  function step(title, doing) {
    const start = now();
    let told = start; // plain output: when the last line was written
    let drawn = -Infinity;
    const name = title.padEnd(22);
    const draw = (text) => {
      clear();
      stream.write(`  ${name} ${text}`.slice(0, Math.max(20, (stream.columns || 100) - 1)));
      shown = true;
    };
    if (live) draw(`${doing} …`);
    else say(`  ${name} ${doing} …`);
    return {
      /** `done` of `total` bytes, or only `done` where the total is unknown. */
      update(done, total) {
        const seconds = (now() - start) / 1000;
        const percent = total ? Math.min(100, Math.floor((100 * done) / total)) : undefined;
        const amount = total ? `${percent} % of ${formatSize(total)}` : formatSize(done);
        const rate = seconds > 1 ? `, ${formatSize(done / seconds)}/s` : "";
        if (live) {
          if (now() - drawn < 100) return;
          drawn = now();
          draw(`${doing} ${amount}${rate}`);
        } else if (now() - told > 5000) {
          told = now();
          say(`  ${name} ${doing} ${amount}, ${formatTime(seconds)}`);
        }
      },
      /** A word on what goes on where there is nothing to count; on a terminal only. */
      working() {
        if (live) draw(`${doing}, ${formatTime((now() - start) / 1000)}`);
      },
      done(text) {
        say(`  ${name} ${text} (${formatTime((now() - start) / 1000)})`);
      },
    };
  }
  return { say, step, clear };
}

/** Decimal units, as registries give them: 274 MB, 1.3 GB. */
export function formatSize(bytes) {
  if (bytes < 1e6) return `${Math.max(0, Math.round(bytes / 1e3))} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

export function formatTime(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
