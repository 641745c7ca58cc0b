// A reader of just the fields of OpDef that tell which inputs are lists (protobuf wire format; op_def.proto:
// OpDef.input_arg = 2; ArgDef.number_attr = 5, ArgDef.type_list_attr = 6).
#include "op_inputs.h"

namespace {

struct Reader {
  const uint8_t* at;
  const uint8_t* end;

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; at < end && shift < 64; shift += 7) {
      const uint8_t byte = *at++;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) break;
    }
    return value;
  }

  // Calls field(number, payload) for every length-delimited field, and skips the others.
  template <typename Field>
  void EachBytesField(Field field) {
    while (at < end) {
      const uint64_t tag = Varint();
      const int number = static_cast<int>(tag >> 3);
      switch (tag & 7) {
        case 0: Varint(); break;
        case 1: at += 8; break;
        case 5: at += 4; break;
        case 2: {
          const uint64_t length = Varint();
          if (length > static_cast<uint64_t>(end - at)) return;
          field(number, Reader{at, at + length});
          at += length;
          break;
        }
        default: return;
      }
    }
  }
};

}  // namespace

std::vector<InputArg> ParseOpDefInputs(const uint8_t* data, size_t length) {
  std::vector<InputArg> args;
  Reader{data, data + length}.EachBytesField([&](int number, Reader payload) {
    if (number != 2) return;
    InputArg arg;
    payload.EachBytesField([&](int field, Reader text) {
      if (field == 5 || field == 6) arg.is_list = true;
      if (field == 5) arg.number_attr.assign(reinterpret_cast<const char*>(text.at), text.end - text.at);
    });
    args.push_back(arg);
  });
  return args;
}
