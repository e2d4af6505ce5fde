// Table: rows of text in aligned columns. Widths are kept from page to page and only grow, so that
// a long listing stays aligned without being held in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::ctl {

enum class Align : std::uint8_t { kLeft, kRight };

struct Column {
  std::string_view title;
  Align align = Align::kLeft;
};

class Table {
 public:
  // Lines are cut at `line_width` columns where it is not 0.
  Table(std::vector<Column> columns, std::size_t line_width);

  // A cell per column, in harmless UTF-8 (base::is_harmless).
  void add(std::vector<std::string> cells);
  // The gathered rows as lines, before the first of them the titles; gathers anew.
  [[nodiscard]] std::string take();

 private:
  void append_line(const std::vector<std::string>& cells, std::string& out) const;

  std::vector<Column> columns_;
  std::vector<std::size_t> widths_;
  std::size_t line_width_;
  std::vector<std::vector<std::string>> rows_;
  bool titled_ = false;
};

}  // namespace postern::ctl
