// Records what TensorFlow does between two calls, with its own profiler: every op of the graph executor, and the kernels on
// a GPU, which no other interface reports for functions. (RunMetadata of the eager context has no times for them.)
//
// The wheel's headers leave the profiler out, though its libraries export it. What is called is declared here, with the names
// that the linker knows; objects of protobuf's are opaque and live in storage that is larger than they are. This holds for
// the TensorFlow version that set-up pins. When a symbol is gone, our addon still loads: the declarations are weak.
#include "profiler.h"

#include <cstddef>
#include <memory>
#include <new>
#include <string>

#define MG_WEAK __attribute__((weak))

namespace google::protobuf {
class Arena;
class MessageLite {
 public:
  MG_WEAK bool ParseFromArray(const void* data, int size);
  MG_WEAK bool AppendToString(std::string* output) const;
};
}  // namespace google::protobuf

namespace tensorflow {

// A message in storage that is certainly large enough; the real class derives from MessageLite at offset 0.
struct alignas(16) Storage {
  std::byte bytes[1024];
};

class ProfileOptions : Storage {
 public:
  MG_WEAK explicit ProfileOptions(google::protobuf::Arena* arena);
  MG_WEAK ~ProfileOptions();
};

namespace profiler {
class XSpace : Storage {
 public:
  MG_WEAK explicit XSpace(google::protobuf::Arena* arena);
  MG_WEAK ~XSpace();
};
}  // namespace profiler

}  // namespace tensorflow

namespace tsl {

// absl::Status as it is returned: one word, 1 for OK. Its text, if any, is not freed.
class StatusWord {
 public:
  ~StatusWord() {}
  bool ok() const { return word_ == 1; }

 private:
  uintptr_t word_ = 1;
};

class ProfilerSession {
 public:
  MG_WEAK static std::unique_ptr<ProfilerSession> Create(const tensorflow::ProfileOptions& options);
  MG_WEAK StatusWord Status();
  MG_WEAK StatusWord CollectData(tensorflow::profiler::XSpace* space);
  MG_WEAK ~ProfilerSession();
  // The size of the real object is not known here.
  static void operator delete(void* pointer) { ::operator delete(pointer); }
};

}  // namespace tsl

namespace {

using google::protobuf::MessageLite;

// Not destroyed at exit, when TensorFlow's own statics may be gone already.
tsl::ProfilerSession* g_session = nullptr;

// startProfiler(profileOptions: Uint8Array): a serialized tensorflow.ProfileOptions.
void Start(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (&tsl::ProfilerSession::Create == nullptr) throw Napi::Error::New(env, "this TensorFlow exports no profiler");
  if (g_session != nullptr) throw Napi::Error::New(env, "the profiler is already running");
  const auto bytes = info[0].As<Napi::Uint8Array>();
  tensorflow::ProfileOptions options(nullptr);
  if (!reinterpret_cast<MessageLite*>(&options)->ParseFromArray(bytes.Data(), static_cast<int>(bytes.ByteLength()))) {
    throw Napi::Error::New(env, "not a tensorflow.ProfileOptions");
  }
  auto session = tsl::ProfilerSession::Create(options);
  if (!session->Status().ok()) {
    throw Napi::Error::New(env, "TensorFlow's profiler does not start: something else is being profiled");
  }
  g_session = session.release();
}

// stopProfiler() -> Buffer with the serialized tensorflow.profiler.XSpace of everything since startProfiler.
Napi::Value Stop(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (g_session == nullptr) throw Napi::Error::New(env, "the profiler is not running");
  const std::unique_ptr<tsl::ProfilerSession> session(g_session);
  g_session = nullptr;
  tensorflow::profiler::XSpace space(nullptr);
  std::string serialized;
  if (!session->CollectData(&space).ok() || !reinterpret_cast<MessageLite*>(&space)->AppendToString(&serialized)) {
    throw Napi::Error::New(env, "TensorFlow's profiler gave no data");
  }
  return Napi::Buffer<char>::Copy(env, serialized.data(), serialized.size());
}

}  // namespace

void DefineProfiler(Napi::Env env, Napi::Object exports) {
  exports.Set("startProfiler", Napi::Function::New(env, Start));
  exports.Set("stopProfiler", Napi::Function::New(env, Stop));
}
