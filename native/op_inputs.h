// How an op groups its inputs: TensorFlow's graph API needs list inputs (Pack, ConcatV2, AddN, While) added as lists.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

struct InputArg {
  bool is_list = false;     // has a number_attr or a type_list_attr
  std::string number_attr;  // name of the attribute that holds the list's length, if any
};

// Reads the input args out of a serialized tensorflow.OpDef.
std::vector<InputArg> ParseOpDefInputs(const uint8_t* data, size_t length);
