// Configurable: what a reload knows of a child.
#pragma once

#include <string>

#include "common/base/ids.h"
#include "common/os/error.h"

namespace postern::parent {

class Configurable {
 public:
  virtual ~Configurable() = default;
  [[nodiscard]] virtual std::string name() const = 0;  // "smtpd[1]"
  [[nodiscard]] virtual bool is_ready() const = 0;
  // Asks it to go on with `config`. Its answer comes to the child's owner; an answer to what was
  // asked before comes to nobody.
  virtual os::Result<void> configure(const std::string& config, base::Generation generation) = 0;
  // Asks it to go on with what it would be started with now. Where it cannot, it is started anew.
  virtual void restore() noexcept = 0;
  virtual void kill() noexcept = 0;
};

}  // namespace postern::parent
