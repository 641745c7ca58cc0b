// Our addon: builds a TF_Graph op by op while tfjs runs a function, and registers it as one TensorFlow function.
//
// JavaScript sees one class, Graph. Every tensor of the graph is a small integer (its index in `outputs_`); an op returns
// {id, dtype, shape} per output, as TensorFlow's own shape inference says, so nothing is computed while tracing.
#include <malloc.h>
#include <napi.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "context.h"
#include "kernels/parallel.h"
#include "op_inputs.h"
#include "processor.h"
#include "profiler.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/c/eager/c_api.h"

namespace {

class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  operator TF_Status*() { return status_; }
  // Throws TensorFlow's message into JavaScript.
  void Check(Napi::Env env) {
    if (TF_GetCode(status_) != TF_OK) throw Napi::Error::New(env, TF_Message(status_));
  }

 private:
  TF_Status* status_;
};

std::vector<int64_t> ToShape(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<int64_t> shape(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) shape[i] = array.Get(i).ToNumber().Int64Value();
  return shape;
}

TFE_Context* Context(Napi::Env env) {
  TFE_Context* context = mg_context();
  if (context == nullptr) throw Napi::Error::New(env, "TensorFlow is not loaded yet");
  return context;
}

template <typename T, typename Convert>
std::vector<T> ToVector(const Napi::Array& array, Convert convert) {
  std::vector<T> values(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) values[i] = convert(array.Get(i));
  return values;
}

// Sets one attribute given as tfjs writes it: {name, type: TF_AttrType, value}. A type of TF_ATTR_FUNC takes a function's name.
void SetAttr(Napi::Env env, TF_OperationDescription* desc, const Napi::Object& attr) {
  const std::string name = attr.Get("name").ToString();
  const Napi::Value value = attr.Get("value");
  const bool is_list = value.IsArray();
  switch (attr.Get("type").ToNumber().Int32Value()) {
    case TF_ATTR_STRING: {
      const std::string text = value.ToString();
      TF_SetAttrString(desc, name.c_str(), text.data(), text.size());
      break;
    }
    case TF_ATTR_INT:
      if (is_list) {
        const auto list = ToShape(value);
        TF_SetAttrIntList(desc, name.c_str(), list.data(), list.size());
      } else {
        TF_SetAttrInt(desc, name.c_str(), value.ToNumber().Int64Value());
      }
      break;
    case TF_ATTR_FLOAT:
      if (is_list) {
        const auto list = ToVector<float>(value.As<Napi::Array>(), [](Napi::Value v) { return v.ToNumber().FloatValue(); });
        TF_SetAttrFloatList(desc, name.c_str(), list.data(), list.size());
      } else {
        TF_SetAttrFloat(desc, name.c_str(), value.ToNumber().FloatValue());
      }
      break;
    case TF_ATTR_BOOL:
      if (is_list) {
        const auto list = ToVector<unsigned char>(value.As<Napi::Array>(), [](Napi::Value v) { return v.ToBoolean() ? 1 : 0; });
        TF_SetAttrBoolList(desc, name.c_str(), list.data(), list.size());
      } else {
        TF_SetAttrBool(desc, name.c_str(), value.ToBoolean() ? 1 : 0);
      }
      break;
    case TF_ATTR_TYPE:
      if (is_list) {
        const auto list = ToVector<TF_DataType>(value.As<Napi::Array>(), [](Napi::Value v) {
          return static_cast<TF_DataType>(v.ToNumber().Int32Value());
        });
        TF_SetAttrTypeList(desc, name.c_str(), list.data(), list.size());
      } else {
        TF_SetAttrType(desc, name.c_str(), static_cast<TF_DataType>(value.ToNumber().Int32Value()));
      }
      break;
    case TF_ATTR_SHAPE: {
      const auto shape = ToShape(value);
      TF_SetAttrShape(desc, name.c_str(), shape.data(), shape.size());
      break;
    }
    case TF_ATTR_FUNC: {
      const std::string function = value.ToString();
      TF_SetAttrFuncName(desc, name.c_str(), function.data(), function.size());
      break;
    }
    default:
      throw Napi::Error::New(env, "attribute " + name + " has a type that graphs do not support");
  }
}

class Graph : public Napi::ObjectWrap<Graph> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Graph",
                       {InstanceMethod("placeholder", &Graph::Placeholder), InstanceMethod("constant", &Graph::Constant),
                        InstanceMethod("addOp", &Graph::AddOp), InstanceMethod("setShape", &Graph::SetShape),
                        InstanceMethod("registerFunction", &Graph::RegisterFunction),
                        InstanceMethod("graphDef", &Graph::GraphDef), InstanceMethod("dispose", &Graph::Dispose)});
  }

  explicit Graph(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Graph>(info), graph_(TF_NewGraph()) {}
  ~Graph() override { Free(); }

 private:
  // placeholder(name, dtype, shape | null) -> id. A null shape leaves it unknown (resource handles).
  Napi::Value Placeholder(const Napi::CallbackInfo& info) {
    TF_OperationDescription* desc = NewOp("Placeholder", info[0].ToString());
    TF_SetAttrType(desc, "dtype", static_cast<TF_DataType>(info[1].ToNumber().Int32Value()));
    if (info[2].IsArray()) {
      const auto shape = ToShape(info[2]);
      TF_SetAttrShape(desc, "shape", shape.data(), shape.size());
    }
    return Napi::Number::New(info.Env(), First(Finish(info.Env(), desc)));
  }

  // constant(dtype, shape, typedArray) -> id; copies the values.
  Napi::Value Constant(const Napi::CallbackInfo& info) {
    const auto dtype = static_cast<TF_DataType>(info[0].ToNumber().Int32Value());
    const auto shape = ToShape(info[1]);
    const auto values = info[2].As<Napi::TypedArray>();
    std::unique_ptr<TF_Tensor, decltype(&TF_DeleteTensor)> tensor(
        TF_AllocateTensor(dtype, shape.data(), shape.size(), values.ByteLength()), &TF_DeleteTensor);
    std::memcpy(TF_TensorData(tensor.get()), static_cast<uint8_t*>(values.ArrayBuffer().Data()) + values.ByteOffset(),
                values.ByteLength());
    TF_OperationDescription* desc = NewOp("Const", "");
    Status status;
    TF_SetAttrTensor(desc, "value", tensor.get(), status);
    TF_SetAttrType(desc, "dtype", dtype);
    status.Check(info.Env());
    return Napi::Number::New(info.Env(), First(Finish(info.Env(), desc)));
  }

  // addOp(type, name | "", attrs[], inputIds[], controlIds[]) -> [{id, dtype, shape | null}]
  // An op without outputs (an assignment) returns one entry with dtype 0, whose id serves as a control input.
  Napi::Value AddOp(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::string type = info[0].ToString();
    const auto attrs = info[2].As<Napi::Array>();
    const auto inputs = info[3].As<Napi::Array>();
    const auto controls = info[4].As<Napi::Array>();
    const auto& args = Inputs(env, type);

    const auto output = [&](Napi::Value v) { return Output(env, v); };
    const auto given = ToVector<TF_Output>(inputs, output);
    const auto before = ToVector<TF_Output>(controls, output);
    const std::vector<size_t> lengths = ArgLengths(env, type, args, attrs, given.size());

    TF_OperationDescription* desc = NewOp(type, info[1].ToString());
    const TF_Output* next = given.data();
    for (size_t i = 0; i < args.size(); next += lengths[i++]) {
      if (args[i].is_list) {
        TF_AddInputList(desc, next, lengths[i]);
      } else {
        TF_AddInput(desc, *next);
      }
    }
    for (const auto& control : before) TF_AddControlInput(desc, control.oper);
    for (uint32_t i = 0; i < attrs.Length(); i++) SetAttr(env, desc, attrs.Get(i).As<Napi::Object>());
    return Describe(env, Finish(env, desc));
  }

  // setShape(id, shape): tells TensorFlow what it can't infer (the value of a resource variable).
  Napi::Value SetShape(const Napi::CallbackInfo& info) {
    const auto shape = ToShape(info[1]);
    Status status;
    TF_GraphSetTensorShape(graph_, Output(info.Env(), info[0]), shape.data(), shape.size(), status);
    status.Check(info.Env());
    return info.Env().Undefined();
  }

  // registerFunction(name, inputIds[], outputIds[], controlIds[], xla: boolean)
  Napi::Value RegisterFunction(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::string name = info[0].ToString();
    const auto output = [&](Napi::Value v) { return Output(env, v); };
    const auto inputs = ToVector<TF_Output>(info[1].As<Napi::Array>(), output);
    const auto outputs = ToVector<TF_Output>(info[2].As<Napi::Array>(), output);
    const auto controls =
        ToVector<const TF_Operation*>(info[3].As<Napi::Array>(), [&](Napi::Value v) { return Output(env, v).oper; });
    Status status;
    std::unique_ptr<TF_Function, decltype(&TF_DeleteFunction)> function(
        TF_GraphToFunctionWithControlOutputs(graph_, name.c_str(), /*append_hash_to_fn_name=*/0, /*num_opers=*/-1, nullptr,
                                             inputs.size(), inputs.data(), outputs.size(), outputs.data(), nullptr,
                                             controls.size(), controls.data(), nullptr, nullptr, name.c_str(), status),
        &TF_DeleteFunction);
    status.Check(env);
    if (info[4].ToBoolean()) {
      static const uint8_t kTrue[] = {0x28, 0x01};  // AttrValue { b: true }
      TF_FunctionSetAttrValueProto(function.get(), "_XlaMustCompile", kTrue, sizeof(kTrue), status);
      status.Check(env);
    }
    TFE_ContextAddFunction(Context(env), function.get(), status);
    status.Check(env);
    return env.Undefined();
  }

  // graphDef() -> Buffer with the serialized tensorflow.GraphDef
  Napi::Value GraphDef(const Napi::CallbackInfo& info) {
    std::unique_ptr<TF_Buffer, decltype(&TF_DeleteBuffer)> buffer(TF_NewBuffer(), &TF_DeleteBuffer);
    Status status;
    TF_GraphToGraphDef(graph_, buffer.get(), status);
    status.Check(info.Env());
    return Napi::Buffer<uint8_t>::Copy(info.Env(), static_cast<const uint8_t*>(buffer->data), buffer->length);
  }

  Napi::Value Dispose(const Napi::CallbackInfo& info) {
    Free();
    return info.Env().Undefined();
  }

  void Free() {
    if (graph_ != nullptr) TF_DeleteGraph(graph_);
    graph_ = nullptr;
    outputs_.clear();
  }

  TF_OperationDescription* NewOp(const std::string& type, const std::string& name) {
    const std::string unique = name.empty() ? type + "_" + std::to_string(++count_) : name;
    return TF_NewOperation(graph_, type.c_str(), unique.c_str());
  }

  TF_Operation* Finish(Napi::Env env, TF_OperationDescription* desc) {
    Status status;
    TF_Operation* op = TF_FinishOperation(desc, status);
    status.Check(env);
    return op;
  }

  int First(TF_Operation* op) {
    outputs_.push_back(TF_Output{op, 0});
    return static_cast<int>(outputs_.size()) - 1;
  }

  TF_Output Output(Napi::Env env, const Napi::Value& value) {
    const int64_t id = value.IsNumber() ? value.ToNumber().Int64Value() : -1;
    if (id < 0 || id >= static_cast<int64_t>(outputs_.size())) throw Napi::Error::New(env, "not a tensor of this graph");
    return outputs_[id];
  }

  // How many of the `given` inputs each argument of the op takes. Throws when they don't add up.
  static std::vector<size_t> ArgLengths(Napi::Env env, const std::string& type, const std::vector<InputArg>& args,
                                        const Napi::Array& attrs, size_t given) {
    size_t singles = 0;
    for (const auto& arg : args) singles += arg.is_list ? 0 : 1;
    std::vector<size_t> lengths;
    size_t taken = 0;
    for (const auto& arg : args) {
      // without a number_attr it is the only list of the op, and takes what the single inputs leave
      lengths.push_back(arg.is_list ? ListLength(arg, attrs, given < singles ? 0 : given - singles) : 1);
      taken += lengths.back();
    }
    if (taken != given) {
      throw Napi::Error::New(env, type + " takes " + std::to_string(taken) + " inputs, not " + std::to_string(given));
    }
    return lengths;
  }

  static size_t ListLength(const InputArg& arg, const Napi::Array& attrs, size_t remaining) {
    for (uint32_t i = 0; !arg.number_attr.empty() && i < attrs.Length(); i++) {
      const auto attr = attrs.Get(i).As<Napi::Object>();
      if (attr.Get("name").ToString().Utf8Value() == arg.number_attr) return attr.Get("value").ToNumber().Uint32Value();
    }
    return remaining;
  }

  const std::vector<InputArg>& Inputs(Napi::Env env, const std::string& type) {
    static std::map<std::string, std::vector<InputArg>> known;
    const auto found = known.find(type);
    if (found != known.end()) return found->second;
    std::unique_ptr<TF_Buffer, decltype(&TF_DeleteBuffer)> buffer(TF_NewBuffer(), &TF_DeleteBuffer);
    Status status;
    TF_GraphGetOpDef(graph_, type.c_str(), buffer.get(), status);
    status.Check(env);
    return known[type] = ParseOpDefInputs(static_cast<const uint8_t*>(buffer->data), buffer->length);
  }

  Napi::Value Describe(Napi::Env env, TF_Operation* op) {
    const int count = TF_OperationNumOutputs(op);
    auto result = Napi::Array::New(env);
    for (int i = 0; i < (count == 0 ? 1 : count); i++) {
      const TF_Output output{op, i};
      outputs_.push_back(output);
      auto entry = Napi::Object::New(env);
      entry.Set("id", static_cast<double>(outputs_.size() - 1));
      entry.Set("dtype", count == 0 ? 0 : static_cast<int>(TF_OperationOutputType(output)));
      entry.Set("shape", count == 0 ? env.Null() : Shape(env, output));
      result.Set(i, entry);
    }
    return result;
  }

  Napi::Value Shape(Napi::Env env, TF_Output output) {
    Status status;
    const int rank = TF_GraphGetTensorNumDims(graph_, output, status);
    status.Check(env);
    if (rank < 0) return env.Null();
    std::vector<int64_t> dims(rank);
    TF_GraphGetTensorShape(graph_, output, dims.data(), rank, status);
    status.Check(env);
    auto shape = Napi::Array::New(env, rank);
    for (int i = 0; i < rank; i++) shape.Set(i, static_cast<double>(dims[i]));
    return shape;
  }

  TF_Graph* graph_;
  std::vector<TF_Output> outputs_;
  int count_ = 0;
};

// configure(configProto: Uint8Array): options of the context that the binding is about to create.
void Configure(const Napi::CallbackInfo& info) {
  const auto bytes = info[0].As<Napi::Uint8Array>();
  mg_set_context_config(bytes.Data(), bytes.ByteLength());
}

// setMallocThresholds(own, trim): allocations from `own` bytes on get memory of their own, which goes back to the system when freed;
// of the rest, what is free at the end goes back when it is more than `trim` bytes.
void SetMallocThresholds(const Napi::CallbackInfo& info) {
  mallopt(M_MMAP_THRESHOLD, info[0].As<Napi::Number>().Int32Value());
  mallopt(M_TRIM_THRESHOLD, info[1].As<Napi::Number>().Int32Value());
}

// removeFunction(name): frees a registered function.
void RemoveFunction(const Napi::CallbackInfo& info) {
  Status status;
  TFE_ContextRemoveFunction(Context(info.Env()), info[0].ToString().Utf8Value().c_str(), status);
  status.Check(info.Env());
}

// setThreads(count): threads that work on one of our own ops; 0 takes one per core. Before the first op runs.
void SetThreads(const Napi::CallbackInfo& info) { mg::SetThreads(info[0].As<Napi::Number>().Int32Value()); }

// processorFeatures() -> string[]
Napi::Value ProcessorFeatures(const Napi::CallbackInfo& info) {
  const std::vector<std::string> features = mg::ProcessorFeatures();
  auto names = Napi::Array::New(info.Env(), features.size());
  for (size_t i = 0; i < features.size(); i++) names.Set(i, features[i]);
  return names;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Graph", Graph::Define(env));
  exports.Set("configure", Napi::Function::New(env, Configure));
  exports.Set("removeFunction", Napi::Function::New(env, RemoveFunction));
  exports.Set("setMallocThresholds", Napi::Function::New(env, SetMallocThresholds));
  exports.Set("setThreads", Napi::Function::New(env, SetThreads));
  exports.Set("processorFeatures", Napi::Function::New(env, ProcessorFeatures));
  exports.Set("tensorflowVersion", Napi::String::New(env, TF_Version()));
  DefineProfiler(env, exports);
  return exports;
}

NODE_API_MODULE(musicgen_native, Init)

}  // namespace
