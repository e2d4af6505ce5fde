// Reserve: room that only outcomes, the operator's changes and what keeps the store going may use: small
// files (reserve/00 ...) that are given up one by one when the disk is full, each held open, so that
// their descriptors can be given up too when no others are left. Made whole again when there is room.
//
// Journal segments have a reserve of their own (segments.h). Any thread may call persist().
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/os/disk.h"

namespace postern::queued {

// Is it only that nothing is left of something: room on the disk, descriptors, memory? That passes.
[[nodiscard]] bool is_exhausted(const os::Error& error);

class Reserve {
 public:
  static constexpr std::size_t kPieces = 16;

  // `configured`: the whole reserve in bytes. The pieces are an eighth of it, at most 16 MiB, beside the
  // journal's part. 0: there are none.
  Reserve(os::Disk& disk, std::uint64_t configured);

  // At the start: takes up what an earlier life has left.
  void begin();
  // In the store thread: makes it whole as far as there is room beside it, and looks whether
  // descriptors are left.
  void refill();
  // Runs `operation` until it succeeds, or fails for another reason than that something is used up, or
  // nothing is left to give up. It must be safe to run again.
  // `keep` pieces are left for what matters more.
  template <class Operation>
  auto persist(Operation operation, std::size_t keep = 0) {
    auto result = operation();
    while (!result && give_up(result.error(), keep)) result = operation();
    return result;
  }
  // Gives up what the error says is missing; false: there is no more of it, or it is something else.
  bool give_up(const os::Error& error, std::size_t keep = 0);
  // What the last refill() found wanting, for people; empty: nothing.
  [[nodiscard]] std::string lack() const;
  [[nodiscard]] std::uint64_t piece_size() const { return piece_size_; }

 private:
  struct Piece {
    std::string path;
    bool made = false;
    std::unique_ptr<os::File> file;  // null: its descriptor was given up
  };
  os::Result<void> make(Piece& piece);
  [[nodiscard]] std::string find_lack();

  os::Disk& disk_;
  const std::uint64_t piece_size_;
  mutable std::mutex mutex_;
  std::vector<Piece> pieces_;
  std::string lack_;
};

}  // namespace postern::queued
