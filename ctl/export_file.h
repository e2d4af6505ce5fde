// Export files as the tool handles them: whole ones are read and believed, new ones appear under their
// name only when they are whole and on disk.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/transfer/file.h"
#include "ctl/command.h"

namespace postern::ctl {

struct ExportFacts {
  transfer::Header header;
  transfer::Counts counts;
  std::vector<base::MessageId> ids;  // of its messages, where they came from
};

// Reads all of it. Each piece of its bytes goes to `piece` (which may be empty), before it is known
// whether the file is whole; what `piece` refuses ends the reading.
using ExportPiece = std::function<std::expected<void, Ending>(std::string_view bytes, bool last)>;
[[nodiscard]] std::expected<ExportFacts, Ending> read_export(const std::string& path,
                                                             const ExportPiece& piece);

class NewExport {
 public:
  // An error if `path` is there, or somebody else is writing it.
  [[nodiscard]] static std::expected<NewExport, Ending> begin(const std::string& path);
  NewExport(NewExport&&) noexcept = default;
  NewExport& operator=(NewExport&&) = delete;
  ~NewExport();  // what was not finished goes

  [[nodiscard]] std::expected<void, Ending> write(std::string_view bytes);
  // Flushes it, gives it its name, flushes the folder.
  [[nodiscard]] std::expected<void, Ending> finish();

 private:
  NewExport(std::string path, base::UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  base::UniqueFd fd_;  // of path_ + ".part", locked
};

[[nodiscard]] bool is_there(const std::string& path);

}  // namespace postern::ctl
