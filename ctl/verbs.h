// Does what the command says: asks the server, prints the answer.
#pragma once

#include "ctl/client.h"
#include "ctl/command.h"

namespace postern::ctl {

// Where answers go: stdout, and what is known about it.
struct Output {
  bool terminal = false;
  bool ascii = false;     // it shows nothing else
  std::size_t width = 0;  // columns of the terminal; 0: not to be cut

  // Bytes as they are, unless it shows ASCII alone. An error is kept for failed().
  void write(std::string_view bytes);
  void flush();
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  bool failed_ = false;
};

// The exit status; an Ending for what is to be said on stderr.
[[nodiscard]] std::expected<int, Ending> perform(const Command& command, Client& client,
                                                 Output& output);

}  // namespace postern::ctl
