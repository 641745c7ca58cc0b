// TensorFlow's kernels.h asks for this header of its build, which the wheel keeps elsewhere and which set-up does not unpack. It
// needs nothing of it but to know that this is no build for phones, and that the calls of a slim build are enough.
#pragma once
#define IS_SLIM_BUILD
