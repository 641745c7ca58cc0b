/** Which of TensorFlow's ops XLA's instructions come from, as the programs say that the profiler records. */
import { messages, text, type XPlane } from "./xspace.ts";

/** Op types by "<module>/<instruction>". A fusion has the type of the op whose result it is. */
export type OpTypes = Map<string, string>;

export function hloOpTypes(planes: XPlane[]): OpTypes {
  const types: OpTypes = new Map();
  for (const program of planes.flatMap(({ programs }) => programs)) {
    for (const module of messages(program, 1)) addModule(types, module); // HloProto.hlo_module
  }
  return types;
}

function addModule(types: OpTypes, module: Uint8Array): void {
  const name = text(module, 1);
  for (const instruction of messages(module, 3).flatMap((computation) => messages(computation, 2))) {
    const [metadata] = messages(instruction, 7);
    const type = metadata ? text(metadata, 1) : "";
    if (type) types.set(`${name}/${text(instruction, 1)}`, type);
  }
}
