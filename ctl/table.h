// Table: rows of text in aligned columns. Widths are kept from page to page and only grow, so that
// a long listing stays aligned without being held in memory.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
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
  void add(std::initializer_list<std::string_view> cells);
  // The gathered rows as lines, before the first of them the titles; gathers anew.
  [[nodiscard]] std::string take();

 private:
  struct Cell {
    std::size_t size = 0;  // bytes
    std::size_t columns = 0;
  };
  // Takes a row's cells off the beginning of both.
  void append_line(std::string_view& text, std::span<const Cell>& cells, std::string& out) const;

  std::vector<Column> columns_;
  std::vector<std::size_t> widths_;
  std::size_t line_width_;
  std::string text_;  // of the gathered rows, cell behind cell
  std::vector<Cell> cells_;
  bool titled_ = false;
};

}  // namespace postern::ctl
