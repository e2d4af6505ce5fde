#include "ctl/table.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/utf8.h"

namespace postern::ctl {
namespace {

// After the last whole character within `width` columns.
void cut(std::string& line, std::size_t width) {
  std::size_t end = 0;
  while (const auto next = base::first_character(std::string_view(line).substr(end))) {
    if (base::columns(std::string_view(line).substr(0, end + next->size)) > width) break;
    end += next->size;
  }
  line.resize(end);
}

}  // namespace

Table::Table(std::vector<Column> columns, std::size_t line_width)
    : columns_(std::move(columns)), line_width_(line_width) {
  for (const auto& column : columns_) widths_.push_back(column.title.size());
}

void Table::add(std::vector<std::string> cells) {
  CHECK(cells.size() == columns_.size());
  for (std::size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], base::columns(cells[i]));
  rows_.push_back(std::move(cells));
}

std::string Table::take() {
  std::string out;
  if (!titled_ && !rows_.empty()) {
    titled_ = true;
    std::vector<std::string> titles;
    for (const auto& column : columns_) titles.emplace_back(column.title);
    append_line(titles, out);
  }
  for (const auto& row : rows_) append_line(row, out);
  rows_.clear();
  return out;
}

void Table::append_line(const std::vector<std::string>& cells, std::string& out) const {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += "  ";
    const auto padding = std::string(widths_[i] - base::columns(cells[i]), ' ');
    line += columns_[i].align == Align::kRight ? padding + cells[i] : cells[i] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  constexpr std::string_view kCut = "...";
  if (line_width_ > kCut.size() && base::columns(line) > line_width_) {
    cut(line, line_width_ - kCut.size());
    line += kCut;
  }
  out += line + '\n';
}

}  // namespace postern::ctl
