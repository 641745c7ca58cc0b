// How our own TensorFlow ops are written: a class whose constructor reads the attributes and whose Compute does one call.
// Only TensorFlow's C interface is used, which compiles in a moment and has no ABI of its own.
//
//   struct Gelu {
//     explicit Gelu(const Attributes&) {}
//     void Compute(Call& call) { ... call.Input(0) ... call.Output(0, shape) ... }
//   };
//   const bool registered = RegisterOp<Gelu>("MgGelu", {"x: float"}, {"y: float"});
//
// The shapes of the outputs are told to the graph by the TypeScript that adds the op (runOp with shapes).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace mg {

using Shape = std::vector<int64_t>;

inline int64_t Product(const Shape& shape, size_t from = 0, size_t to = SIZE_MAX) {
  int64_t product = 1;
  for (size_t i = from; i < shape.size() && i < to; i++) product *= shape[i];
  return product;
}

// A TensorFlow status that throws its message.
class CheckedStatus {
 public:
  CheckedStatus() : status_(TF_NewStatus()) {}
  ~CheckedStatus() { TF_DeleteStatus(status_); }
  CheckedStatus(const CheckedStatus&) = delete;
  operator TF_Status*() { return status_; }
  void Check() {
    if (TF_GetCode(status_) != TF_OK) throw std::runtime_error(TF_Message(status_));
  }

 private:
  TF_Status* status_;
};

// A tensor that a call was given or makes.
class TensorView {
 public:
  TensorView() : tensor_(nullptr, &TF_DeleteTensor) {}
  explicit TensorView(TF_Tensor* tensor) : tensor_(tensor, &TF_DeleteTensor) {
    for (int i = 0; i < TF_NumDims(tensor); i++) shape_.push_back(TF_Dim(tensor, i));
  }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i < 0 ? shape_.size() + i : i]; }
  int64_t size() const { return Product(shape_); }
  TF_DataType dtype() const { return TF_TensorType(tensor_.get()); }
  template <typename T>
  T* data() const {
    return static_cast<T*>(TF_TensorData(tensor_.get()));
  }
  float* floats() const { return data<float>(); }
  int32_t* ints() const { return data<int32_t>(); }
  TF_Tensor* tensor() const { return tensor_.get(); }

 private:
  std::unique_ptr<TF_Tensor, decltype(&TF_DeleteTensor)> tensor_;
  Shape shape_;
};

// The attributes that an op was made with.
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction) : construction_(construction) {}
  int64_t Int(const char* name) const {
    int64_t value = 0;
    CheckedStatus status;
    TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status);
    status.Check();
    return value;
  }
  float Float(const char* name) const {
    float value = 0;
    CheckedStatus status;
    TF_OpKernelConstruction_GetAttrFloat(construction_, name, &value, status);
    status.Check();
    return value;
  }
  bool Bool(const char* name) const {
    TF_Bool value = 0;
    CheckedStatus status;
    TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status);
    status.Check();
    return value != 0;
  }

 private:
  TF_OpKernelConstruction* construction_;
};

// One call of an op. Errors are thrown as std::exception and become the op's status.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context) {}

  int inputs() const { return TF_NumInputs(context_); }

  TensorView Input(int i) {
    TF_Tensor* tensor = nullptr;
    CheckedStatus status;
    TF_GetInput(context_, i, &tensor, status);
    status.Check();
    return TensorView(tensor);
  }

  Shape InputShape(int i) { return Input(i).shape(); }

  TensorView Output(int i, const Shape& shape, TF_DataType dtype = TF_FLOAT) {
    CheckedStatus status;
    TF_Tensor* tensor = TF_AllocateOutput(context_, i, dtype, shape.data(), static_cast<int>(shape.size()),
                                          Product(shape) * TF_DataTypeSize(dtype), status);
    status.Check();
    return TensorView(tensor);
  }

  // An output in the memory of one of `inputs`, of the same shape and type, if nobody else needs it; else in new memory.
  // To be asked for before Input(): a view of the input counts as somebody who needs it.
  TensorView OutputInPlaceOf(std::initializer_list<int> inputs, int i, const Shape& shape) {
    const std::vector<int> candidates(inputs);
    int forwarded = -1;
    CheckedStatus status;
    TF_Tensor* tensor =
        TF_ForwardInputOrAllocateOutput(context_, candidates.data(), static_cast<int>(candidates.size()), i, shape.data(),
                                        static_cast<int>(shape.size()), &forwarded, status);
    status.Check();
    return TensorView(tensor);
  }

  // Memory for the length of the call.
  TensorView Scratch(const Shape& shape, TF_DataType dtype = TF_FLOAT) {
    TF_AllocatorAttributes on_host{TF_ALLOCATOR_ATTRIBUTES_STRUCT_SIZE, 1};
    CheckedStatus status;
    TF_Tensor* tensor =
        TF_AllocateTemp(context_, dtype, shape.data(), static_cast<int>(shape.size()), &on_host, status);
    status.Check();
    return TensorView(tensor);
  }

 private:
  TF_OpKernelContext* context_;
};

struct OpDefinition {
  std::vector<const char*> inputs;
  std::vector<const char*> outputs;
  std::vector<const char*> attrs;
  // True for ops that have an effect, which must run though nobody uses an output.
  bool stateful;
};

// Implementation of RegisterOp, without templates.
void RegisterDefinition(const char* name, const OpDefinition& definition);
void RegisterKernel(const char* name, void* (*create)(TF_OpKernelConstruction*),
                    void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*));

// Makes TensorFlow know the op `name`, computed on CPUs by `Kernel`. Specs as TensorFlow writes them: "x: float", "eps: float = 1e-5".
template <typename Kernel>
bool RegisterOp(const char* name, std::vector<const char*> inputs, std::vector<const char*> outputs,
                std::vector<const char*> attrs = {}, bool stateful = false) {
  RegisterDefinition(name, {std::move(inputs), std::move(outputs), std::move(attrs), stateful});
  RegisterKernel(
      name,
      [](TF_OpKernelConstruction* construction) -> void* {
        try {
          return new Kernel(Attributes(construction));
        } catch (const std::exception& error) {
          CheckedStatus status;
          TF_SetStatus(status, TF_INVALID_ARGUMENT, error.what());
          TF_OpKernelConstruction_Failure(construction, status);
          return nullptr;
        }
      },
      [](void* kernel, TF_OpKernelContext* context) {
        try {
          Call call(context);
          static_cast<Kernel*>(kernel)->Compute(call);
        } catch (const std::exception& error) {
          CheckedStatus status;
          TF_SetStatus(status, TF_INVALID_ARGUMENT, error.what());
          TF_OpKernelContext_Failure(context, status);
        }
      },
      [](void* kernel) { delete static_cast<Kernel*>(kernel); });
  return true;
}

}  // namespace mg
