// A spool as plain files, to be damaged and put back.
#pragma once

#include <map>
#include <string>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {

using Files = std::map<std::string, std::string>;

inline void put_spool(FakeDisk& disk, const Files& files) {
  disk.~FakeDisk();
  new (&disk) FakeDisk;
  for (const auto& [name, bytes] : files) disk.put_file(name, bytes);
}

inline Files take_spool(FakeDisk& disk) {
  Files files;
  for (const auto* folder : {"journal", "large"})
    for (const auto& name : disk.files(folder)) files[name] = disk.content(name);
  if (disk.has("control.json")) files["control.json"] = disk.content("control.json");
  return files;
}

inline std::shared_ptr<MemoryRows> copy_of(const MemoryRows& rows) {
  auto copy = std::make_shared<MemoryRows>();
  copy->rows = rows.rows;
  copy->mark = rows.mark;
  return copy;
}

inline void flip(std::string& bytes, std::uint64_t at, std::uint64_t bit) {
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit % 8));
}

}  // namespace postern::queued
