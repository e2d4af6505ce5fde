// Sockets: who has connections to the Unix sockets that the configuration names. A deliverer can open none.
#pragma once

#include <expected>
#include <functional>
#include <string>

#include "common/base/unique_fd.h"

namespace postern::relay {

class Sockets {
 public:
  // A connected socket, or why there is none.
  using Connected = std::move_only_function<void(std::expected<base::UniqueFd, std::string>) noexcept>;

  virtual ~Sockets() = default;
  // `connected` is called once, in another turn.
  virtual void connect(const std::string& path, Connected connected) = 0;
};

}  // namespace postern::relay
