// libtensorflow.so as tfjs-node-gpu's binding sees it.
//
// The binding links to a library of this name and creates its TFE_Context privately, with default options. This library
// stands in that place: it passes everything on to libtensorflow_cc.so.2, except TFE_NewContext, to which it adds our
// ConfigProto and whose result it remembers, so that our addon can register functions in the same context.
#include "context.h"

#include <dlfcn.h>

#include <string>

namespace {
std::string g_config;
TFE_Context* g_context = nullptr;
}  // namespace

extern "C" {

void mg_set_context_config(const void* proto, size_t length) {
  g_config.assign(static_cast<const char*>(proto), length);
}

TFE_Context* mg_context(void) { return g_context; }

TFE_Context* TFE_NewContext(const TFE_ContextOptions* options, TF_Status* status) {
  using NewContext = TFE_Context* (*)(const TFE_ContextOptions*, TF_Status*);
  static const auto real = reinterpret_cast<NewContext>(dlsym(RTLD_NEXT, "TFE_NewContext"));
  if (real == nullptr) {
    TF_SetStatus(status, TF_FAILED_PRECONDITION, "TFE_NewContext is missing in libtensorflow_cc.so.2");
    return nullptr;
  }
  if (!g_config.empty()) {
    TFE_ContextOptionsSetConfig(const_cast<TFE_ContextOptions*>(options), g_config.data(), g_config.size(), status);
    if (TF_GetCode(status) != TF_OK) return nullptr;
  }
  g_context = real(options, status);
  return g_context;
}

}  // extern "C"
