// Loader hooks for a process that runs from compiled files and imports a user's TypeScript: what that takes from src/ is the
// module that runs already. Registered by src/modules.ts after tsx, which finds the file.
let running;

export function initialize(where) {
  running = where;
}

export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const { folder, sources } = running;
  if (!found.url.startsWith(sources)) return found;
  const [, name] = /^(.*)\.ts(\?.*)?$/.exec(found.url.slice(sources.length)) ?? [];
  return name === undefined ? found : { url: `${folder}${name}.mjs`, format: "module", shortCircuit: true };
}
