// LedgerWriter: appends lines to a ledger's file. Lines gather in lines() until flush() hands them
// to the kernel in one write; after that they survive the death of this process. What a killed
// writer left of an incomplete last line is cut off when the file is opened again.
#pragma once

#include <string>

#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::bench {

class LedgerWriter {
 public:
  // Keeps nothing: for runs without a ledger.
  LedgerWriter() = default;
  [[nodiscard]] static os::Result<LedgerWriter> open(const std::string& path);

  [[nodiscard]] bool on() const noexcept { return fd_.valid(); }
  // Whole lines, appended by the functions of lines.h.
  [[nodiscard]] std::string& lines() noexcept { return lines_; }
  // A ledger that cannot be written proves nothing: the caller ends its run.
  [[nodiscard]] os::Result<void> flush();

 private:
  base::UniqueFd fd_;
  std::string path_;
  std::string lines_;
};

}  // namespace postern::bench
