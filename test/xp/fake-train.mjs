// Stands for `npm run train` in tests of what starts trainings: writes a history, or fails, or waits for a signal.
// usage: fake-train.mjs DORA_DIR key=value … ; the label says what to do: ok, fail or wait.
import fs from "node:fs";
import path from "node:path";

const [doraDir, ...argv] = process.argv.slice(2);
const label = argv.findLast((argument) => argument.startsWith("label="))?.slice("label=".length);
fs.mkdirSync(doraDir, { recursive: true });
fs.appendFileSync(path.join(doraDir, "calls.jsonl"), `${JSON.stringify(argv)}\n`);
console.log(`label ${label}`);
if (label === "fail") process.exit(3);
if (label === "wait") {
  process.on("SIGUSR1", () => process.exit(138));
  fs.writeFileSync(path.join(doraDir, "waiting"), "");
  setTimeout(() => process.exit(9), 20_000);
}
