// Quota: how much may lie in a mailbox, or in the drop. What lies there is counted by its files, by the size that
// their names tell (",S=", as Maildir++ has it) or by their own, and remembered for kFresh: what is filed meanwhile
// is added, what is taken away in that time frees nothing yet. Nothing is kept on disk. Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/os/disk.h"

namespace postern::local {

enum class Room : std::uint8_t {
  kEnough,
  kFull,   // not now
  kNever,  // it is larger than all that may lie there
};

class Quota {
 public:
  static constexpr base::Millis kFresh{10'000};
  static constexpr std::size_t kMaxKnown = 10'000;    // places that are remembered
  static constexpr std::size_t kMaxFolders = 1'000;   // of a Maildir, that are counted
  static constexpr std::size_t kMaxFiles = 1'000'000;  // of a directory, likewise

  // `limit` in bytes, of each place; 0: none.
  Quota(os::Disk& disk, const base::Clock& clock, std::uint64_t limit)
      : disk_(disk), clock_(clock), limit_(limit) {}

  // Is there room for so many bytes in this Maildir, its folders included? Then they count as filed.
  [[nodiscard]] Room take_in_maildir(const std::string& maildir, std::uint64_t size);
  // Likewise in one directory.
  [[nodiscard]] Room take_in_directory(const std::string& directory, std::uint64_t size);
  // They were not filed.
  void give_back(const std::string& place, std::uint64_t size);

 private:
  struct Known {
    std::uint64_t used = 0;
    base::SteadyTime since;
  };
  using Count = std::uint64_t (Quota::*)(const std::string&) const;

  Room take(const std::string& place, std::uint64_t size, Count count);
  [[nodiscard]] std::optional<Room> take_of_known(const std::string& place, std::uint64_t size);
  [[nodiscard]] Room take_of(Known& known, std::uint64_t size) const;
  [[nodiscard]] std::uint64_t count_maildir(const std::string& maildir) const;
  [[nodiscard]] std::uint64_t count_directory(const std::string& directory) const;

  os::Disk& disk_;
  const base::Clock& clock_;
  const std::uint64_t limit_;
  std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;
};

// "123456.M1P2.host,S=4711:2,S": 4711; nothing where the name does not tell.
[[nodiscard]] std::optional<std::uint64_t> size_in_name(std::string_view name) noexcept;

}  // namespace postern::local
