// Image: what a disk holds after a crash: every path below the root, with its contents.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace postern::crash {

using Contents = std::shared_ptr<const std::string>;

struct Entry {
  Contents bytes;             // null: a directory
  std::int64_t modified = 0;  // milliseconds, of a file
};

// By path below the root, without a leading slash; a directory stands before what is in it.
using Image = std::map<std::string, Entry>;

// Writes the image below `root`, which is emptied before.
void put_on_disk(const Image& image, const std::string& root);
// Everything that is below `root`.
[[nodiscard]] Image read_from_disk(const std::string& root);

}  // namespace postern::crash
