#include "deliverd/relay/body_file.h"

#include "deliverd/relay/body.h"

namespace postern::relay {

bool file_has_eight_bit(int file, std::uint64_t size) {
  bool found = false;
  read_file(file, size, [&](std::string_view piece) { return !(found = has_eight_bit(piece)); });
  return found;
}

std::uint64_t plain_size_of_file(int file, std::uint64_t size) {
  PlainSize plain;
  read_file(file, size, [&](std::string_view piece) { return plain.add(piece), true; });
  return plain.bytes();
}

}  // namespace postern::relay
