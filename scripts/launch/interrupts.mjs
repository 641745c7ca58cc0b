// One Ctrl-C, one signal. The terminal sends SIGINT to npm and to us, and npm sends it to us once more.

const window = 400; // ms; a person who means a second Ctrl-C needs longer

/** Drops a SIGINT or SIGTERM that follows the same signal within the window. Listeners are added as usual. */
export function mergeRepeatedSignals(target = process, now = () => performance.now()) {
  const last = new Map();
  const emit = target.emit;
  target.emit = function (event, ...rest) {
    if (event === "SIGINT" || event === "SIGTERM") {
      const time = now();
      const repeated = time - (last.get(event) ?? -Infinity) < window;
      if (repeated) return true;
      last.set(event, time);
    }
    return emit.call(this, event, ...rest);
  };
}
