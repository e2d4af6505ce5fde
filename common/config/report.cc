#include "common/config/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <tuple>

namespace postern::config {

void Report::add(Mistake mistake) {
  if (mistakes_.size() < kMaxMistakes)
    mistakes_.push_back(std::move(mistake));
  else
    ++dropped_;
}

void Report::add(const Where& where, std::string key, std::string text) {
  add(Mistake{where.file, where.line, where.column, std::move(key), {}, std::move(text)});
}

void Report::add(const Place& place, std::string key, std::string text) {
  add(where(place), std::move(key), std::move(text));
}

void Report::add(const Value& value, std::string key, std::string text) {
  add(Mistake{document_.files[value.place.file], value.place.line, value.place.column,
              std::move(key), to_toml(value), std::move(text)});
}

Where Report::where(const Place& place) const {
  return {document_.files[place.file], place.line, place.column};
}

std::vector<Mistake> Report::take() {
  const auto& files = document_.files;
  const auto order = [&](const Mistake& m) {  // users files come behind all others
    const auto file = std::find(files.begin(), files.end(), m.file) - files.begin();
    return std::tuple(file, std::string_view(m.file), m.line, m.column, std::string_view(m.key),
                      std::string_view(m.text));
  };
  std::sort(mistakes_.begin(), mistakes_.end(),
            [&](const Mistake& a, const Mistake& b) { return order(a) < order(b); });
  if (dropped_ > 0)
    mistakes_.push_back({files.front(), 0, 0, {}, {}, fmt::format("{} more mistakes", dropped_)});
  return std::move(mistakes_);
}

}  // namespace postern::config
