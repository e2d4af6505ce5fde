// Page: rows of a listing, as many as fit into one frame. How many that are depends on how long the rows
// are; the limit is in bytes. A row is encoded once, when it comes in: how long it is is known then, and the
// page is sent as it stands.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "common/ipc/codec.h"

namespace postern::ipc {

template <class Row>
class Page {
 public:
  static constexpr std::size_t kMostBytes = 60'000;  // of all rows, encoded
  static constexpr std::size_t kMostRows = 256;      // one slice of a turn of the loop

  // False: it is full, and `row` is not in it.
  [[nodiscard]] bool add(Row row) {
    static_assert(Codec<Row>::max_size({}) <= kMostBytes);
    if (rows_.size() == kMostRows) return false;
    const auto before = encoded_.size();
    base::Writer writer(encoded_);
    Codec<Row>::encode(writer, row, {});
    if (encoded_.size() > kMostBytes) {
      encoded_.resize(before);
      return false;
    }
    rows_.push_back(std::move(row));
    return true;
  }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] const Row& operator[](std::size_t i) const { return rows_[i]; }
  [[nodiscard]] const Row& back() const { return rows_.back(); }
  [[nodiscard]] auto begin() const { return rows_.begin(); }
  [[nodiscard]] auto end() const { return rows_.end(); }

 private:
  friend struct Codec<Page>;

  std::vector<Row> rows_;
  std::string encoded_;  // all of them
};

template <class Row>
struct Codec<Page<Row>> {
  static void encode(base::Writer& w, const Page<Row>& page, Limits) {
    w.integer(static_cast<std::uint32_t>(page.size()));
    w.raw(page.encoded_);
  }
  static void decode(base::Reader& r, Page<Row>& page, Limits) {
    const auto count = r.integer<std::uint32_t>();
    page = {};
    if (count > Page<Row>::kMostRows) return r.fail();
    page.rows_.reserve(count);
    auto rows = r;
    for (std::uint32_t i = 0; i < count && !r.failed(); ++i) Codec<Row>::decode(r, page.rows_.emplace_back(), {});
    const auto size = rows.left() - r.left();
    if (size > Page<Row>::kMostBytes) return r.fail();
    page.encoded_ = rows.raw(size);
  }
  static constexpr std::size_t max_size(Limits) { return 4 + Page<Row>::kMostBytes; }
  static void shape(std::string& out) {
    out += "page" + std::to_string(Page<Row>::kMostBytes);
    Codec<Row>::shape(out);
  }
};

}  // namespace postern::ipc
