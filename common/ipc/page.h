// Page: rows of a listing, as many as fit into one frame. How many that are depends on how long the rows
// are; the limit is in bytes.
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
    const auto size = encode(row).size();
    return add(std::move(row), size);
  }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] const Row& operator[](std::size_t i) const { return rows_[i]; }
  [[nodiscard]] const Row& back() const { return rows_.back(); }
  [[nodiscard]] auto begin() const { return rows_.begin(); }
  [[nodiscard]] auto end() const { return rows_.end(); }

 private:
  friend struct Codec<Page>;
  // `size`: of the row, encoded.
  [[nodiscard]] bool add(Row row, std::size_t size) {
    static_assert(Codec<Row>::max_size({}) <= kMostBytes);
    if (rows_.size() == kMostRows || bytes_ + size > kMostBytes) return false;
    bytes_ += size;
    rows_.push_back(std::move(row));
    return true;
  }

  std::vector<Row> rows_;
  std::size_t bytes_ = 0;
};

template <class Row>
struct Codec<Page<Row>> {
  static void encode(base::Writer& w, const Page<Row>& page, Limits) {
    w.integer(static_cast<std::uint32_t>(page.size()));
    for (const auto& row : page) Codec<Row>::encode(w, row, {});
  }
  static void decode(base::Reader& r, Page<Row>& page, Limits) {
    const auto count = r.integer<std::uint32_t>();
    page = {};
    for (std::uint32_t i = 0; i < count && !r.failed(); ++i) {
      Row row;
      const auto before = r.left();
      Codec<Row>::decode(r, row, {});
      if (!r.failed() && !page.add(std::move(row), before - r.left())) r.fail();
    }
  }
  static constexpr std::size_t max_size(Limits) { return 4 + Page<Row>::kMostBytes; }
  static void shape(std::string& out) {
    out += "page" + std::to_string(Page<Row>::kMostBytes);
    Codec<Row>::shape(out);
  }
};

}  // namespace postern::ipc
