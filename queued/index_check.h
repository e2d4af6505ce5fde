// The proof that an index file is harmless, before LMDB maps it. LMDB believes what stands in its
// pages: a wrong bit there makes it crash, loop, or answer wrongly. This reads the file by itself,
// each page once, with bounds on everything, and accepts it only if
//   - both heads are whole, one transaction apart, and each names a tree that bears its number,
//   - every page of the newest trees is of its kind and number, its nodes packed as LMDB packs
//   them, its
//     keys in order and between those of its parent,
//   - every page is used exactly once: in a tree, as part of a long value, or in the list of free
//   ones,
//   - the heads' counts are right, and so is the checksum of every row, and no piece of a row is
//   missing.
// Nobody may write to the file meanwhile.
#pragma once

#include <cstdint>
#include <string>

#include "common/os/disk.h"

namespace postern::queued {

struct IndexFacts {
  std::uint64_t rows = 0;
  std::uint64_t pages = 0;  // in the file's trees and lists, heads included
  std::uint64_t free = 0;   // of those
  std::uint64_t page_size = 0;
};

// EBADMSG: damaged, with what and where. `map`: no page may lie beyond so many bytes.
[[nodiscard]] os::Result<IndexFacts> check_index(os::Disk& disk, const std::string& name,
                                                 std::uint64_t map);

// The versions that the index says of itself, read without a proof of the rest; 0: it does not say.
struct IndexVersions {
  std::uint32_t file = 0;  // of the index's own format (index_row.h)
  std::uint32_t rows = 0;  // of what is in it (row.h)
};
[[nodiscard]] IndexVersions index_versions(os::Disk& disk, const std::string& name);

}  // namespace postern::queued
