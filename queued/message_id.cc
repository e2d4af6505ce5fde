#include "queued/message_id.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::string_view kName = "Message-ID";
constexpr std::size_t kAtOnce = 16;  // messages, in one turn

// Takes the first line off, without its end.
std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_folded(std::string_view line) { return line.starts_with(' ') || line.starts_with('\t'); }

// What stands behind the colon; blanks in front of it are obsolete (RFC 5322 4.5.4). nullopt: another field.
std::optional<std::string_view> value_of(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !base::equals_ignoring_case(base::trim(line.substr(0, colon)), kName))
    return std::nullopt;
  return line.substr(colon + 1);
}

std::string_view without_brackets(std::string_view value) {
  const auto begin = value.find('<');
  if (begin == std::string_view::npos) return base::trim(value);
  value.remove_prefix(begin + 1);
  return value.substr(0, value.find('>'));
}

// A search under way.
struct Search {
  std::vector<base::MessageId> ids;
  std::string wanted;
  Found found;
  std::vector<bool> fits;     // by their places in `ids`
  std::size_t asked_for = 0;  // the first so many
  std::size_t reading = 0;    // of these
};

void finish(Search& search) {
  std::vector<base::MessageId> all;
  for (std::size_t i = 0; i < search.ids.size(); ++i)
    if (search.fits[i]) all.push_back(search.ids[i]);
  search.found(std::move(all));
}

void read_some(Engine& engine, const std::shared_ptr<Search>& search);

// What comes next is another turn's: heads that are in memory come at once.
void is_read(Engine& engine, const std::shared_ptr<Search>& search, std::size_t at, bool fits) {
  search->fits[at] = fits;
  if (--search->reading > 0) return;
  if (search->asked_for == search->ids.size()) return finish(*search);
  engine.slices().add([&engine, search]() noexcept {
    read_some(engine, search);
    return false;
  });
}

void read_head(Engine& engine, const std::shared_ptr<Search>& search, std::size_t at) {
  engine.store().load_head(search->ids[at], kMaxSearchedHead, [&engine, search, at](const std::string& head) noexcept {
    is_read(engine, search, at, find_message_id(head, search->wanted) == MessageIdField::kSame);
  });
}

// Of a large one the piece alone: to load it is to read all of it, for its checksum. The field may be one that was put
// on top of it.
void read_large(Engine& engine, const std::shared_ptr<Search>& search, std::size_t at) {
  engine.store().load_part(search->ids[at], 0, kMaxSearchedHead, [&engine, search, at](const std::string& head) noexcept {
    const auto field = find_message_id(head, search->wanted);
    if (field == MessageIdField::kNone) return read_head(engine, search, at);
    is_read(engine, search, at, field == MessageIdField::kSame);
  });
}

void read_some(Engine& engine, const std::shared_ptr<Search>& search) {
  const auto from = search->asked_for;
  const auto to = std::min(search->ids.size(), from + kAtOnce);
  search->asked_for = to;
  search->reading = to - from;
  std::vector<base::MessageId> some(search->ids.begin() + static_cast<std::ptrdiff_t>(from),
                                    search->ids.begin() + static_cast<std::ptrdiff_t>(to));
  engine.store().fetch(std::move(some), [&engine, search, from, to]() noexcept {
    for (auto at = from; at < to; ++at) {
      const Message* message = engine.store().find(search->ids[at]);
      if (message == nullptr || message->damaged)
        is_read(engine, search, at, false);
      else if (message->large)
        read_large(engine, search, at);
      else
        read_head(engine, search, at);
    }
  });
}

}  // namespace

MessageIdField find_message_id(std::string_view head, std::string_view wanted) {
  auto answer = MessageIdField::kNone;
  while (!head.empty()) {
    const auto line = take_line(head);
    if (line.empty()) break;  // the header ends
    const auto begun = value_of(line);
    if (!begun || is_folded(line)) continue;
    std::string value(*begun);
    while (is_folded(head)) value += take_line(head);
    answer = MessageIdField::kOther;
    if (without_brackets(value) == wanted) return MessageIdField::kSame;
  }
  return answer;
}

void search_headers(Engine& engine, std::vector<base::MessageId> ids, std::string wanted, Found found) {
  auto search = std::make_shared<Search>();
  search->fits.resize(ids.size());
  search->ids = std::move(ids);
  search->wanted = std::move(wanted);
  search->found = std::move(found);
  if (search->ids.empty()) return finish(*search);
  read_some(engine, search);
}

}  // namespace postern::queued
