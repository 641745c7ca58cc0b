/** The real binding under the autocast rules, for functions that run op by op. */
import { executeWithAutocast, type OpExecutor } from "./autocast.ts";
import { DataType, type OpAttr } from "./native.ts";
import { bindingWith, kernelsAllowed, realBinding } from "./tensorflow.ts";

const executor: OpExecutor = {
  execute: (name, attrs, inputs, outputs) => realBinding.executeOp(name, attrs, inputs, outputs),
  dtypeOf: () => DataType.float, // whatever reaches a lowered op is float32
  cachedCast: (_id, _dtype, make) => make(),
  release: (id) => realBinding.deleteTensor(id),
  hasKernels: kernelsAllowed,
};

export const eagerBinding = bindingWith({
  executeOp: (name: string, attrs: OpAttr[], inputs: number[], outputs: number) =>
    executeWithAutocast(executor, name, attrs, inputs, outputs),
});
