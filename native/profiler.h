// TensorFlow's profiler, as it is exported by its libraries but not declared in the headers of the wheel.
#pragma once
#include <napi.h>

// Adds startProfiler and stopProfiler to the addon's exports.
void DefineProfiler(Napi::Env env, Napi::Object exports);
