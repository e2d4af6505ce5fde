// Volume: a model of a disk under recorded operations. It knows what is durable and what is still
// on its way, and builds what a power cut at this moment could leave.
//
// Contents: what a flush covered stays; of each block written since, any of its contents since then
// may be there, and the file may have any of its sizes since then. Names: a directory's flush
// covers what was done in it. Of the rest a journaling file system keeps a beginning, in the order
// in which it was done; a stricter reading keeps any part. A file that was renamed may be left
// under both names, never under none.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "tests/crash/recorder.h"

namespace postern::crash {

// What becomes of that which is on its way.
struct Choice {
  enum class Data : std::uint8_t {
    kAll,
    kNone,
    kUpTo,      // operations before `limit` in whole, of that one the first `torn` bytes
    kOnlyLast,  // nothing but the newest operation
    kBlocks,    // by chance, for each block of `block` bytes
  };
  enum class Names : std::uint8_t {
    kAll,
    kNone,
    kOrdered,      // a beginning, over all directories
    kByDirectory,  // a beginning for each directory
    kAny,
  };
  Data data = Data::kAll;
  Names names = Names::kAll;
  std::uint32_t limit = 0;
  std::uint64_t torn = 0;
  std::uint32_t block = 512;
  bool stale =
      false;  // what a file grew by without being written holds what was on the disk before
  std::uint64_t seed = 0;
};

class Volume {
 public:
  explicit Volume(const Image& image);

  // The next operation; its number is how many came before.
  void apply(const Operation& operation);
  // `nodes`: is told where each is.
  [[nodiscard]] Image build(const Choice& choice, NodePaths* nodes = nullptr) const;
  // How many there are, also of those that are gone.
  [[nodiscard]] Node nodes() const { return static_cast<Node>(inodes_.size()); }
  // Is anything on its way?
  [[nodiscard]] bool settled() const;

 private:
  struct Change {
    std::uint32_t operation;
    std::uint64_t offset;  // without bytes: the new size
    Contents bytes;
  };
  struct Inode {
    bool directory = false;
    Contents durable;
    std::int64_t durable_time = 0;
    std::vector<Change> changes;
    std::vector<std::pair<std::uint32_t, std::int64_t>> times;
  };
  struct Effect {
    Node directory;
    std::string leaf;
    Node node;  // kNoNode: the name goes
    bool durable = false;
  };
  struct NameChange {
    std::uint32_t operation;
    std::vector<Effect> effects;
  };
  using Names = std::map<std::pair<Node, std::string>, Node>;

  void flush_range(Inode& inode, std::uint64_t offset, std::uint64_t size);
  void flush_contents(Inode& inode);
  void flush_names(Node directory);
  void add_name_change(std::vector<Effect> effects);
  [[nodiscard]] Contents contents(const Inode& inode, Node node, const Choice& choice) const;
  [[nodiscard]] Contents by_blocks(const Inode& inode, Node node, const Choice& choice) const;
  [[nodiscard]] Names names(const Choice& choice) const;
  [[nodiscard]] std::set<std::pair<std::size_t, std::size_t>> surviving(const Choice& choice) const;

  std::vector<Inode> inodes_;
  Names durable_;
  std::vector<NameChange> name_changes_;
  std::uint32_t names_flushed_ = 0;  // operations before this one, for a journaling file system
  std::uint32_t next_ = 0;
  std::set<Node> unsettled_;
  Contents stale_;  // what a block of the disk may hold from before
};

// A number by chance, from a seed and a name for it.
[[nodiscard]] std::uint64_t chance(std::uint64_t seed, std::uint64_t a, std::uint64_t b = 0);

}  // namespace postern::crash
