// Recorder: writes down, in one order, every operation by which this process changes what a disk
// holds below one directory. The calls of the C library themselves are interposed (interpose.cc),
// so nothing escapes it: neither os::Disk's calls, nor LMDB's, nor what is written through a
// descriptor that was passed on. Files are recognised by their inodes. Thread-safe: an operation
// and its place in the order are one step.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/crash/image.h"

namespace postern::crash {

using Node = std::uint32_t;  // a file or directory; 0: the root
inline constexpr Node kNoNode = ~0U;
using NodePaths = std::map<std::string, Node>;  // "" is the root

enum class Kind : std::uint8_t {
  kCreate,
  kMakeDirectory,
  kWrite,
  kTruncate,    // to `offset` bytes
  kFlushRange,  // what a write to an O_DSYNC descriptor does beside the write
  kFlushData,   // fdatasync(2)
  kFlush,       // fsync(2)
  kFlushDirectory,
  kRename,
  kUnlink,
  kSetTime,
};
[[nodiscard]] std::string_view name(Kind kind);

struct Operation {
  Kind kind = Kind::kWrite;
  std::uint32_t site = 0;       // of Recorder::sites()
  Node node = kNoNode;          // what is written, named, flushed
  std::string path;             // its name then, below the root
  Node directory = kNoNode;     // where it is named; kRename: where it was
  Node to_directory = kNoNode;  // kRename
  std::string leaf, to_leaf;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // of a range
  Contents bytes;
  std::int64_t time = 0;  // kSetTime: the file's; else the wall clock of the story
};

// Where in the code: return addresses, innermost first.
using Site = std::vector<void*>;

class Recorder {
 public:
  // Records what happens below `root`, where these nodes are, until it is destroyed. One at a time.
  // New nodes are numbered from `next` on, positions from `base` on.
  Recorder(std::string root, const NodePaths& nodes, Node next, std::uint32_t base,
           bool with_sites);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Behind the last operation: what is promised now must be true from here on.
  [[nodiscard]] std::uint32_t position();
  [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
  [[nodiscard]] const std::vector<Site>& sites() const { return sites_; }
  void set_wall(std::int64_t ms) { wall_ = ms; }
  // The next operation of this kind on a path that begins so is not done, and fails with this error.
  void fail_next(Kind kind, std::string path, int error);
  // Which of those have not come yet.
  [[nodiscard]] std::string left_to_fail();

  // --- For interpose.cc: called with mutex() held, after the call succeeded.
  [[nodiscard]] static Recorder* active();
  [[nodiscard]] std::mutex& mutex() { return mutex_; }
  // Shall it fail, and with which error? 0: no.
  [[nodiscard]] int failure(Kind kind, int fd);
  [[nodiscard]] int failure(Kind kind, int directory, const char* path);
  // Is this path there, as far as it is ours?
  [[nodiscard]] bool knows(int directory, const char* path) const;
  void opened_new(int fd, int directory, const char* path);
  void made_directory(int directory, const char* path);
  void wrote(int fd, std::uint64_t offset, const void* bytes, std::size_t size);
  void truncated(int fd, std::uint64_t size);
  void allocated(int fd, std::uint64_t end);
  void flushed(int fd, Kind kind);
  void renamed(int from, const char* path, int to, const char* to_path);
  void unlinked(int directory, const char* path);
  void set_time(int fd, std::int64_t ms);

 private:
  struct Place {
    Node directory = kNoNode;  // kNoNode: not ours
    std::string path, leaf;
  };
  [[nodiscard]] Place place(int directory, const char* path) const;
  [[nodiscard]] Node node_of(int fd) const;
  Node add(std::uint64_t inode, std::string path);
  Operation& log(Kind kind, Node node);
  struct Planned {
    Kind kind = Kind::kWrite;
    std::string path;
    int error = 0;
  };
  int take_failure(Kind kind, const std::string& path);

  std::string root_;
  std::uint32_t base_;
  bool with_sites_;
  std::int64_t wall_ = 0;
  std::mutex mutex_;
  std::vector<Planned> planned_;
  bool index_published_ = false;
  std::vector<Operation> operations_;
  std::vector<Site> sites_;
  std::unordered_map<std::string, std::uint32_t> site_numbers_;
  std::unordered_map<std::uint64_t, Node> by_inode_;
  std::unordered_map<std::string, Node> by_path_;
  std::vector<std::string> paths_;  // by node, the present ones
};

}  // namespace postern::crash
