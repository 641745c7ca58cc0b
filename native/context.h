// The one TFE_Context of this process, shared by tfjs-node-gpu's binding and our addon.
#pragma once
#include <cstddef>

#include "tensorflow/c/eager/c_api.h"

extern "C" {
// Serialized tensorflow.ConfigProto to apply to the next context (threads, GPU memory growth, visible devices).
void mg_set_context_config(const void* proto, size_t length);
// The context created last, or nullptr before the binding was loaded.
TFE_Context* mg_context(void);
}
