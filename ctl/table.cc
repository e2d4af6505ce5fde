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

void Table::add(std::initializer_list<std::string_view> cells) {
  CHECK(cells.size() == columns_.size());
  auto width = widths_.begin();
  for (const auto cell : cells) {
    const auto& known = cells_.emplace_back(cell.size(), base::columns(cell));
    *width = std::max(*width, known.columns);
    ++width;
    text_ += cell;
  }
}

std::string Table::take() {
  std::string out;
  if (!titled_ && !cells_.empty()) {
    titled_ = true;
    std::string titles;
    std::vector<Cell> sizes;
    for (const auto& column : columns_) {
      titles += column.title;
      sizes.emplace_back(column.title.size(), column.title.size());
    }
    std::string_view text = titles;
    std::span<const Cell> cells = sizes;
    append_line(text, cells, out);
  }
  std::string_view text = text_;
  for (std::span<const Cell> cells = cells_; !cells.empty();) append_line(text, cells, out);
  text_.clear();
  cells_.clear();
  return out;
}

void Table::append_line(std::string_view& text, std::span<const Cell>& cells, std::string& out) const {
  const auto begin = out.size();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto& cell = cells[i];
    const auto padding = widths_[i] - cell.columns;
    if (i > 0) out += "  ";
    if (columns_[i].align == Align::kRight) out.append(padding, ' ');
    out += text.substr(0, cell.size);
    if (columns_[i].align == Align::kLeft) out.append(padding, ' ');
    text.remove_prefix(cell.size);
  }
  cells = cells.subspan(columns_.size());
  while (out.size() > begin && out.back() == ' ') out.pop_back();
  constexpr std::string_view kCut = "...";
  if (line_width_ > kCut.size() && base::columns(std::string_view(out).substr(begin)) > line_width_) {
    auto line = out.substr(begin);
    cut(line, line_width_ - kCut.size());
    out.replace(begin, std::string::npos, line + std::string(kCut));
  }
  out += '\n';
}

}  // namespace postern::ctl
