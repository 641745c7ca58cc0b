#!/usr/bin/env node
// What every `npm run …` calls: checks this machine, sets up what is missing, then runs src/<command>.ts in this process.
//
// Written in old JavaScript without imports at the top, so that a Node that is too old still reads it and prints one line.

var nodeVersion = process.versions.node.split(".").map(Number);
var tooOld = nodeVersion[0] < 20 || (nodeVersion[0] === 20 && nodeVersion[1] < 6);

if (tooOld || nodeVersion[0] > 26) {
  console.error(
    "error: Node " +
      process.versions.node +
      " is too " +
      (tooOld ? "old" : "new") +
      " for musicgen-tfjs. " +
      "Install Node 20.6 to 26 (for example: nvm install 24), then run this command again.",
  );
  process.exit(1);
} else if (process.platform !== "linux" || process.arch !== "x64") {
  console.error(
    "error: musicgen-tfjs runs on Linux x64, and this is " +
      process.platform +
      " " +
      process.arch +
      ". " +
      "Use a Linux x64 machine, container or virtual machine (on Windows: WSL 2 with a Linux x64 Node).",
  );
  process.exit(1);
} else {
  import("./launch/commands.mjs")
    .then((commands) => commands.run(process.argv[2], process.argv.slice(3)))
    .then((code) => {
      // The event loop may still hold idle handles of TensorFlow or of a worker: the command has said that it is done.
      process.exit(code);
    });
}
