// Any line becomes a command; its refusal is a reply of one clean line.
#include "common/mail/command.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto command = postern::mail::parse_command({reinterpret_cast<const char*>(data), size});
  CHECK(!postern::mail::name(command.verb).empty());
  if (command.error) {
    std::string wire;
    command.error->append_to(wire);
    CHECK(command.error->permanent() && wire.size() <= 512);
    CHECK(wire.find('\r') == wire.size() - 2 && wire.find('\n') == wire.size() - 1);
  } else if (command.path.kind == postern::mail::Path::Kind::kAddress) {
    CHECK(!command.path.address.empty());
  }
  return 0;
}
