#include "queued/lmdb_index.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/fault.h"
#include "common/base/crc32c.h"
#include "common/log/log.h"
#include "queued/index_check.h"
#include "queued/index_row.h"

namespace postern::queued {
namespace {

constexpr MDB_dbi kFreePages = 0, kRows = 1;  // LMDB's two trees, both named by its head
constexpr std::uint64_t kMetaPages = 2;
constexpr std::uint64_t kBlock = 512;     // the unit of st_blocks
constexpr std::uint64_t kWasteShare = 4;  // a quarter in use is enough
const std::string kFresh = ".new";        // a file that does not count yet
const std::string kLock = "-lock";        // LMDB's name for its lock file

// LMDB copies every page that it changes: with no page to spare, not even the removal of a row would go
// through, and a map that is full would stay so.
std::uint64_t with_spare(std::uint64_t map) {
  constexpr std::uint64_t kLeast = 1 << 20, kShare = 16, kPage = 64 << 10;
  return map + std::max(kLeast, map / kShare / kPage * kPage);
}

const std::string& format_key() {
  static const std::string key = stored_key(KeySpace::kOwn, "format");
  return key;
}
const std::string& mark_key() {
  static const std::string key = stored_key(KeySpace::kOwn, "mark");
  return key;
}

KeySpace space_of(Table table) {
  switch (table) {
    case Table::kMessages:
      return KeySpace::kMessages;
    case Table::kWaits:
      return KeySpace::kWaits;
  }
  CHECK(false);
}

// What LMDB says, in the three classes of index.h.
std::unexpected<os::Error> failed(std::string_view what, int error) {
  std::string text(what);
  if (error == MDB_MAP_FULL) error = ENOMEM;
  if (error == EDQUOT || error == EFBIG) error = ENOSPC;
  if (error == MDB_READERS_FULL || error == MDB_TXN_FULL) {  // a bug of ours, not of the file
    text.append(", ").append(::mdb_strerror(error));
    error = EOVERFLOW;
  }
  if (error < 0) {
    text.append(", ").append(::mdb_strerror(error));
    error = EBADMSG;
  }
  return os::failure(text, error);
}

std::unexpected<os::Error> damaged(std::string_view stored_key, std::string_view what) {
  std::string text = "read the index, row ";
  text.append(describe_key(stored_key)).append(": ").append(what);
  return os::failure(text, EBADMSG);
}

// LMDB goes on to read what it has just found to be wrong, if this returns.
[[noreturn]] void end_process(MDB_env*, const char* text) {
  std::fputs("LMDB: ", stderr);
  std::fputs(text, stderr);
  std::fputs("\n", stderr);
  std::abort();
}

MDB_val to_lmdb(std::string_view bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};  // LMDB does not write to it
}
std::string_view from_lmdb(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

// Valid until the transaction ends or writes.
os::Result<std::optional<std::string_view>> find(MDB_txn* txn, std::string_view key) {
  MDB_val name = to_lmdb(key), value{};
  const int error = ::mdb_get(txn, kRows, &name, &value);
  if (error == MDB_NOTFOUND) return std::nullopt;
  if (error != 0) return failed("read the index", error);
  return from_lmdb(value);
}

// The whole value, from its first piece as stored.
os::Result<std::string> join(MDB_txn* txn, std::string_view key, std::string_view stored) {
  const auto first = read_first_piece(key, stored);
  if (!first) return damaged(key, "its checksum is wrong");
  std::string value(first->bytes);
  if (first->pieces == 1) return value;
  value.reserve(first->size);
  for (std::size_t number = 1; number < first->pieces; ++number) {
    const auto name = piece_key(key, number);
    const auto found = find(txn, name);
    if (!found) return std::unexpected(found.error());
    if (!*found) return damaged(name, "it is missing");
    const auto piece = read_further_piece(name, **found);
    if (!piece) return damaged(name, "its checksum is wrong");
    value += *piece;
  }
  if (value.size() != first->size || base::crc32c(value) != first->crc)
    return damaged(key, "its pieces do not belong together");
  return value;
}

}  // namespace

// --- Reading
// ------------------------------------------------------------------------------------------

// A view of the newest tree as it is now; its transaction is kept for the next one.
class LmdbIndex::Snapshot {
 public:
  explicit Snapshot(LmdbIndex& index) : index_(index) {}
  ~Snapshot() {
    if (txn_ == nullptr) return;
    ::mdb_txn_reset(txn_);
    const std::lock_guard lock(index_.mutex_);
    index_.idle_.push_back(txn_);
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  os::Result<MDB_txn*> begin() {
    MDB_txn* txn = nullptr;
    {
      const std::lock_guard lock(index_.mutex_);
      if (!index_.idle_.empty()) {
        txn = index_.idle_.back();
        index_.idle_.pop_back();
      }
    }
    const int error = txn != nullptr ? ::mdb_txn_renew(txn)
                                     : ::mdb_txn_begin(index_.env_, nullptr, MDB_RDONLY, &txn);
    if (error != 0) {
      if (txn != nullptr) ::mdb_txn_abort(txn);
      return failed("begin to read the index", error);
    }
    txn_ = txn;
    return txn_;
  }

 private:
  LmdbIndex& index_;
  MDB_txn* txn_ = nullptr;
};

// A reader that is stopped for two commits between LMDB's first looks at the file may see half of
// each head. So what looks like damage is looked at again.
template <class Read>
auto LmdbIndex::read(Read read) -> decltype(read(std::declval<MDB_txn*>())) {
  for (int attempt = 0;; ++attempt) {
    Snapshot snapshot(*this);
    const auto txn = snapshot.begin();
    if (!txn) return std::unexpected(txn.error());
    auto result = read(*txn);
    if (result || result.error().number != EBADMSG || attempt == 1) return result;
  }
}

os::Result<std::optional<std::string>> LmdbIndex::get_stored(const std::string& key) {
  return read([&](MDB_txn* txn) -> os::Result<std::optional<std::string>> {
    const auto found = find(txn, key);
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    return join(txn, key, **found);
  });
}

os::Result<std::optional<std::string>> LmdbIndex::get(Table table, std::string_view key) {
  return get_stored(stored_key(space_of(table), key));
}

os::Result<std::string> LmdbIndex::mark() {
  auto stored = get_stored(mark_key());
  if (!stored) return std::unexpected(stored.error());
  if (!*stored || (*stored)->size() < sizeof(std::uint64_t))
    return damaged(mark_key(), "it is missing");
  return (*stored)->substr(sizeof(std::uint64_t));
}

os::Result<std::vector<IndexRow>> LmdbIndex::scan(Table table, std::string_view after,
                                                  std::size_t limit) {
  const auto space = static_cast<char>(space_of(table));
  std::string from(1, space);
  from += after;
  return read([&](MDB_txn* txn) -> os::Result<std::vector<IndexRow>> {
    MDB_cursor* opened = nullptr;
    if (const int error = ::mdb_cursor_open(txn, kRows, &opened); error != 0)
      return failed("scan the index", error);
    const std::unique_ptr<MDB_cursor, decltype(&::mdb_cursor_close)> cursor(opened,
                                                                            &::mdb_cursor_close);
    std::vector<IndexRow> rows;
    MDB_val key = to_lmdb(from), value{};
    int error = ::mdb_cursor_get(opened, &key, &value, MDB_SET_RANGE);
    if (error == 0 && from_lmdb(key) == from)
      error = ::mdb_cursor_get(opened, &key, &value, MDB_NEXT);
    for (; error == 0 && rows.size() < limit;
         error = ::mdb_cursor_get(opened, &key, &value, MDB_NEXT)) {
      const auto name = from_lmdb(key);
      if (name.empty() || name.front() != space) return rows;
      auto whole = join(txn, name, from_lmdb(value));
      if (!whole) return std::unexpected(whole.error());
      rows.push_back({std::string(name.substr(1)), *std::move(whole)});
    }
    if (error != 0 && error != MDB_NOTFOUND) return failed("scan the index", error);
    return rows;
  });
}

IndexUse LmdbIndex::use() {
  const std::lock_guard lock(mutex_);
  return use_;
}

// --- Writing
// ------------------------------------------------------------------------------------------

// A write transaction; what is not committed has not happened.
class LmdbIndex::Change {
 public:
  Change() = default;
  ~Change() {
    if (txn_ != nullptr) ::mdb_txn_abort(txn_);
  }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  os::Result<void> begin(MDB_env* env) {
    if (const int error = ::mdb_txn_begin(env, nullptr, 0, &txn_); error != 0)
      return failed("begin to write the index", error);
    MDB_cursor* cursor = nullptr;
    int error = ::mdb_cursor_open(txn_, kRows, &cursor);
    if (error != 0) return failed("begin to write the index", error);
    MDB_val key{}, value{};
    error = ::mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (error == 0) last_ = from_lmdb(key);
    ::mdb_cursor_close(cursor);
    if (error != 0 && error != MDB_NOTFOUND) return failed("begin to write the index", error);
    return {};
  }

  // A row comes, changes, or goes. Pieces that stay the same are not touched.
  os::Result<void> apply(const std::string& key, const std::optional<std::string>& value) {
    std::size_t old_pieces = 0;
    std::string old_first;
    if (key <= last_) {
      const auto found = find(txn_, key);
      if (!found) return std::unexpected(found.error());
      if (*found) {
        const auto first = read_first_piece(key, **found);
        if (!first) return damaged(key, "its checksum is wrong");
        old_pieces = first->pieces;
        old_first = **found;
      }
    }
    const auto pieces = value ? cut_value(key, *value) : std::vector<std::string>{};
    if (!pieces.empty() && pieces[0] != old_first)
      if (auto done = put(key, pieces[0]); !done) return done;
    // Every second one first, then those between: LMDB halves a page that it splits, and they fill
    // it again.
    for (const std::size_t begin : {2U, 1U})
      for (auto number = begin; number < pieces.size(); number += 2)
        if (auto done = put_piece(piece_key(key, number), pieces[number], number < old_pieces);
            !done)
          return done;
    for (auto number = std::max<std::size_t>(pieces.size(), 1); number < old_pieces; ++number)
      if (auto done = remove(piece_key(key, number)); !done) return done;
    if (pieces.empty() && old_pieces > 0) return remove(key);
    return {};
  }

  os::Result<void> stamp(std::string_view mark) {
    std::string value;
    base::Writer writer(value);
    writer.integer(static_cast<std::uint64_t>(::mdb_txn_id(txn_)));
    writer.raw(mark);
    return apply(mark_key(), value);
  }

  int commit() { return ::mdb_txn_commit(std::exchange(txn_, nullptr)); }

  // Bytes of the tree of rows, as it is now.
  [[nodiscard]] std::uint64_t tree_size() const {
    MDB_stat stat{};
    CHECK(::mdb_stat(txn_, kRows, &stat) == 0);
    return (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
  }

 private:
  // A page that is split by what comes behind it stays full when LMDB knows that it is the last.
  os::Result<void> put(const std::string& key, std::string_view piece) {
    const bool append = key > last_;
    MDB_val name = to_lmdb(key), value = to_lmdb(piece);
    if (const int error = ::mdb_put(txn_, kRows, &name, &value, append ? MDB_APPEND : 0);
        error != 0)
      return failed("write to the index", error);
    if (append) last_ = key;
    return {};
  }
  os::Result<void> put_piece(const std::string& key, std::string_view piece, bool may_be_there) {
    if (may_be_there) {
      const auto found = find(txn_, key);
      if (!found) return std::unexpected(found.error());
      if (!*found) return damaged(key, "it is missing");
      if (**found == piece) return {};
    }
    return put(key, piece);
  }
  os::Result<void> remove(const std::string& key) {
    MDB_val name = to_lmdb(key);
    const int error = ::mdb_del(txn_, kRows, &name, nullptr);
    if (error == MDB_NOTFOUND) return damaged(key, "it is missing");
    if (error != 0) return failed("write to the index", error);
    return {};
  }

  MDB_txn* txn_ = nullptr;
  std::string last_;  // no key in the tree is above it
};

os::Result<void> LmdbIndex::commit(const std::vector<IndexChange>& changes, std::string_view mark) {
  CHECK(mark.size() <= kMaxIndexMark);
  // In the order of the tree, so that each page is touched once; of one row the last change wins.
  std::vector<std::pair<std::string, const IndexChange*>> ordered;
  ordered.reserve(changes.size());
  for (const auto& change : changes)
    ordered.emplace_back(stored_key(space_of(change.table), change.key), &change);
  std::ranges::sort(ordered);
  Change change;
  if (auto begun = change.begin(env_); !begun) return begun;
  const auto before = change.tree_size();
  for (const auto& [key, wanted] : ordered)
    if (auto done = change.apply(key, wanted->value); !done) return done;
  if (const auto after = change.tree_size(); after > before && after > options_.map)
    return failed("write to the index", MDB_MAP_FULL);
  return finish(change, mark);
}

os::Result<void> LmdbIndex::finish(Change& change, std::string_view mark) {
  if (auto done = change.stamp(mark); !done) return done;
  errno = 0;
  if (int error = change.commit(); error != 0) {
    // LMDB calls a write that was cut short EIO; only a full disk does that, and it leaves errno
    // alone.
    if (error == EIO && errno != EIO) error = ENOSPC;
    // A failed write of the head has marked the environment: what the next start finds is not
    // known.
    MDB_txn* probe = nullptr;
    if (::mdb_txn_begin(env_, nullptr, 0, &probe) != 0)
      return os::failure("commit to the index: its head could not be written", EIO);
    ::mdb_txn_abort(probe);
    return failed("commit to the index", error);
  }
  measure(1);
  return {};
}

// Updates what use() tells, and keeps blocks allocated ahead. A failure changes nothing of what was
// committed: the next commit that needs room says so.
void LmdbIndex::measure(std::uint64_t commits) {
  Snapshot snapshot(*this);
  const auto txn = snapshot.begin();
  int fd = -1;
  if (!txn || ::mdb_env_get_fd(env_, &fd) != 0) return;
  MDB_envinfo info{};
  ::mdb_env_info(env_, &info);
  std::uint64_t pages = kMetaPages, page_size = 0;
  for (const auto tree : {kFreePages, kRows}) {
    MDB_stat stat{};
    if (::mdb_stat(*txn, tree, &stat) != 0) return;
    pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    page_size = stat.ms_psize;
  }
  const auto end = (info.me_last_pgno + 1) * page_size;
  struct stat file {};
  if (::fstat(fd, &file) != 0) return;
  if (static_cast<std::uint64_t>(file.st_size) < end + options_.ahead / 2) {
    (void)!::fallocate(fd, 0, static_cast<off_t>(end), static_cast<off_t>(options_.ahead));
    if (::fstat(fd, &file) != 0) return;
  }
  const auto size = static_cast<std::uint64_t>(file.st_size);
  const std::lock_guard lock(mutex_);
  use_.used = pages * page_size;
  use_.map = options_.map;
  use_.file = static_cast<std::uint64_t>(file.st_blocks) * kBlock;
  use_.ahead = size - std::min(size, end);
  use_.commits += commits;
}

// --- Opening
// ------------------------------------------------------------------------------------------

LmdbIndex::~LmdbIndex() {
  for (MDB_txn* txn : idle_) ::mdb_txn_abort(txn);
  ::mdb_env_close(env_);
}

os::Result<std::unique_ptr<LmdbIndex>> LmdbIndex::open_as(const std::string& name,
                                                          const LmdbIndexOptions& options) {
  std::unique_ptr<LmdbIndex> index(new LmdbIndex(options));
  int error = ::mdb_env_create(&index->env_);
  if (error != 0) return failed("open the index", error);
  MDB_env* env = index->env_;
  ::mdb_env_set_assert(env, &end_process);
  if (error = ::mdb_env_set_mapsize(env, with_spare(options.map)); error != 0)
    return failed("open the index", error);
  const auto path = options.directory + "/" + name;
  // NOTLS: a read transaction belongs to no thread.
  const unsigned unsafe = fault::planted(fault::Fault::kIndexNoSync) ? MDB_NOSYNC : 0;
  const unsigned looking = options.read_only ? MDB_RDONLY | MDB_NOLOCK : 0;
  error = ::mdb_env_open(env, path.c_str(), MDB_NOSUBDIR | MDB_NOTLS | unsafe | looking, 0600);
  if (error != 0) return failed("open the index", error);
  if (error = ::mdb_reader_check(env, nullptr); error != 0) return failed("open the index", error);
  MDB_txn* txn = nullptr;
  error = ::mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  if (error != 0) return failed("open the index", error);
  MDB_dbi rows = 0;
  error = ::mdb_dbi_open(txn, nullptr, 0, &rows);
  ::mdb_txn_abort(txn);
  if (error != 0) return failed("open the index", error);
  CHECK(rows == kRows);
  return index;
}

os::Result<void> LmdbIndex::write_format() {
  std::string format;
  base::Writer writer(format);
  writer.raw(kIndexMagic);
  writer.integer(kIndexFileVersion);
  Change change;
  if (auto begun = change.begin(env_); !begun) return begun;
  if (auto done = change.apply(format_key(), format); !done) return done;
  return finish(change, {});
}

os::Result<void> LmdbIndex::check_format() {
  const auto stored = get_stored(format_key());
  if (!stored) return std::unexpected(stored.error());
  if (!*stored) return damaged(format_key(), "it is missing");
  base::Reader reader(**stored);
  if (reader.raw(kIndexMagic.size()) != kIndexMagic)
    return damaged(format_key(), "this is no index of Postern");
  const auto version = reader.integer<std::uint32_t>();
  if (!reader.complete()) return damaged(format_key(), "it is too long or too short");
  if (version > kIndexFileVersion)
    return os::failure("open the index: a later version of Postern wrote it", EPROTO);
  return {};
}

// A new file is whole under another name before it gets its own.
os::Result<void> LmdbIndex::publish(os::Disk& disk, const LmdbIndexOptions& options) {
  const auto fresh = options.name + kFresh;
  if (auto done = disk.unlink(fresh + kLock); !done) return done;
  if (auto done = disk.rename(fresh, options.name); !done) return done;
  if (fault::planted(fault::Fault::kIndexNameUnflushed)) return {};
  return disk.flush_directory(".");
}

os::Result<void> LmdbIndex::make(os::Disk& disk, const LmdbIndexOptions& options) {
  {
    const auto index = open_as(options.name + kFresh, options);
    if (!index) return std::unexpected(index.error());
    if (auto done = (*index)->write_format(); !done) return done;
  }
  return publish(disk, options);
}

// LMDB's file never shrinks; a copy has only what is in use.
os::Result<void> LmdbIndex::copy_compacted(os::Disk& disk) {
  const auto fresh = options_.name + kFresh;
  {
    auto file = disk.open(fresh, os::OpenMode::kCreateExclusive);
    if (!file) return std::unexpected(file.error());
    const auto fd = (*file)->duplicate();
    if (!fd) return std::unexpected(fd.error());
    if (const int error = ::mdb_env_copyfd2(env_, fd->get(), MDB_CP_COMPACT); error != 0)
      return failed("copy the index", error);
    if (auto done = (*file)->flush(); !done) return done;
  }
  // The copy's transactions are counted anew: both heads get a mark that bears their number.
  const auto copy = open_as(fresh, options_);
  if (!copy) return std::unexpected(copy.error());
  const auto mark = (*copy)->mark();
  if (!mark) return std::unexpected(mark.error());
  for (std::uint64_t head = 0; head < kMetaPages; ++head)
    if (auto done = (*copy)->commit({}, *mark); !done) return done;
  return {};
}

os::Result<void> LmdbIndex::drop_leftovers(os::Disk& disk, const LmdbIndexOptions& options) {
  for (const auto& name : {options.name + kFresh, options.name + kFresh + kLock}) {
    const auto there = disk.exists(name);
    if (!there) return std::unexpected(there.error());
    if (*there)
      if (auto done = disk.unlink(name); !done) return done;
  }
  return {};
}

// What a process that ended left in the cache alone must not be built upon: after a power cut the file
// would be neither what it was nor what it became.
os::Result<void> LmdbIndex::flush_left(os::Disk& disk, const LmdbIndexOptions& options) {
  const auto file = disk.open(options.name, os::OpenMode::kReadWrite);
  if (!file) return std::unexpected(file.error());
  return (*file)->flush_data();
}

os::Result<std::unique_ptr<LmdbIndex>> LmdbIndex::open_checked(os::Disk& disk,
                                                               const LmdbIndexOptions& options) {
  if (auto done = flush_left(disk, options); !done) return std::unexpected(done.error());
  if (options.check)
    if (auto done = check_index(disk, options.name, with_spare(options.map)); !done)
      return std::unexpected(done.error());
  auto index = open_as(options.name, options);
  if (!index) return index;
  if (auto done = (*index)->check_format(); !done) return std::unexpected(done.error());
  if (!options.read_only) (*index)->measure(0);
  return index;
}

os::Result<std::unique_ptr<Index>> LmdbIndex::open(os::Disk& disk, LmdbIndexOptions options) {
  if (options.read_only) {
    auto index = open_checked(disk, options);
    if (!index) return std::unexpected(index.error());
    return index;
  }
  if (auto done = drop_leftovers(disk, options); !done) return std::unexpected(done.error());
  const auto there = disk.exists(options.name);
  if (!there) return std::unexpected(there.error());
  if (!*there)
    if (auto done = make(disk, options); !done) return std::unexpected(done.error());
  auto index = open_checked(disk, options);
  if (!index) return std::unexpected(index.error());
  const auto use = (*index)->use();
  if (use.file <= options.compact_above || use.used >= use.file / kWasteShare) return index;
  if (auto copied = (*index)->copy_compacted(disk); !copied) {
    log::warning("index.not_compacted").field("reason", copied.error().text());
    if (auto done = drop_leftovers(disk, options); !done) return std::unexpected(done.error());
    return index;
  }
  index->reset();
  if (auto done = publish(disk, options); !done) return std::unexpected(done.error());
  index = open_checked(disk, options);
  if (!index) return std::unexpected(index.error());
  log::info("index.compacted").field("from", use.file).field("to", (*index)->use().file);
  return index;
}

}  // namespace postern::queued
