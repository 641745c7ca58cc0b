#include "op.h"

namespace mg {

void RegisterDefinition(const char* name, const OpDefinition& definition) {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(name);
  for (const char* spec : definition.inputs) TF_OpDefinitionBuilderAddInput(builder, spec);
  for (const char* spec : definition.outputs) TF_OpDefinitionBuilderAddOutput(builder, spec);
  for (const char* spec : definition.attrs) TF_OpDefinitionBuilderAddAttr(builder, spec);
  // TensorFlow's function ignores its second argument. What is stateful runs even where nobody uses its outputs.
  if (definition.stateful) TF_OpDefinitionBuilderSetIsStateful(builder, true);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, [](TF_ShapeInferenceContext* context, TF_Status* status) {
    TF_ShapeInferenceContextSetUnknownShape(context, status);
  });
  CheckedStatus status;
  TF_RegisterOpDefinition(builder, status);
  status.Check();
}

void RegisterKernel(const char* name, void* (*create)(TF_OpKernelConstruction*),
                    void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)) {
  TF_KernelBuilder* builder = TF_NewKernelBuilder(name, "CPU", create, compute, destroy);
  CheckedStatus status;
  TF_RegisterKernelBuilder(name, builder, status);
  status.Check();
}

}  // namespace mg
