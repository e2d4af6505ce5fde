#include "common/config/aliases_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/document.h"
#include "common/config/names.h"
#include "common/config/section.h"
#include "common/config/toml_file.h"
#include "common/config/users_file.h"

namespace postern::config {
namespace {

constexpr std::string_view kInclude = ":include:";
constexpr std::string_view kBlank = " \t";

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Where `text` ends: before the first of `ends` that stands outside quotes and brackets.
std::size_t find_end(std::string_view text, std::string_view ends) {
  bool quoted = false;
  int comments = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (quoted) {
      quoted = c != '"';
    } else if (comments > 0) {
      comments += c == '(' ? 1 : c == ')' ? -1 : 0;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '(') {
      ++comments;
    } else if (ends.find(c) != std::string_view::npos) {
      if (c != '#' || i == 0 || is_blank(text[i - 1])) return i;
    }
  }
  return text.size();
}

// Without what stands in round brackets, for people (RFC 5322 3.2.2); nullopt where one is not closed.
std::optional<std::string> without_comments(std::string_view text) {
  std::string out;
  bool quoted = false;
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool pair = c == '\\' && i + 1 < text.size();
    if (!pair && !quoted && c == '(') {
      ++depth;
    } else if (!pair && !quoted && c == ')' && depth > 0) {
      --depth;
    } else if (depth == 0) {
      out += c;
      if (pair) out += text[i + 1];
      quoted = quoted != (c == '"');
    }
    i += pair ? 1 : 0;
  }
  if (depth > 0) return std::nullopt;
  return std::string(base::trim(out));
}

class Reader {
 public:
  Reader(DomainSection& domain, Report& report) : domain_(domain), report_(report) {}

  void read(const std::string& path, std::string_view content) {
    Source source{path, 0, 0};
    each_line(source, content, [&](std::string_view line) { entry_line(source, line); });
    close_entry();
    if (bad_ > kMaxBadLines)
      report_.add(Where{path}, {}, fmt::format("{} more bad lines", bad_ - kMaxBadLines));
    if (domain_.alias_lines.size() > kMaxAliases)
      report_.add(Where{path}, {}, fmt::format("expected at most {} aliases", kMaxAliases));
  }

 private:
  struct Source {
    std::string path;
    std::uint32_t line = 0;
    std::size_t depth = 0;
    std::string_view text{};  // the line
  };

  template <class Take>
  static void each_line(Source& source, std::string_view rest, Take take) {
    while (!rest.empty()) {
      ++source.line;
      auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      source.text = line;
      const auto first = line.find_first_not_of(kBlank);
      if (first != std::string_view::npos && line[first] != '#') take(line);
    }
  }

  void entry_line(const Source& source, std::string_view line) {
    if (!is_blank(line.front())) {
      close_entry();
      begin_entry(source, line);
    } else if (!entry_ && !broken_) {
      wrong(source, base::trim(line), "this line begins with a space, so it goes on with the one before, and there is none");
    } else if (entry_) {
      targets(source, line);
    }
  }

  void begin_entry(const Source& source, std::string_view line) {
    broken_ = true;
    const auto colon = find_end(line, ":");
    const auto name = base::trim(line.substr(0, colon));
    if (colon == line.size() || name.empty())
      return wrong(source, base::trim(line), "expected a name, a colon, and whom it stands for");
    if (name.front() != '"' && name.find('@') != std::string_view::npos)
      return wrong(source, name, "expected a name without a domain: it is valid in every name of this [[domain]]");
    const auto address = parse_address(std::string(name) + '@' + domain_.names.front().text());
    if (!address) return wrong(source, name, address.error());
    AliasLine entry{base::folded(address->local_part()), *address, {}, at(source, name)};
    const auto [known, fresh] = places_.emplace(entry.name, entry.where);
    if (!fresh)
      return wrong(source, name, fmt::format("this name stands already at {}:{}", known->second.file, known->second.line));
    broken_ = troubled_ = false;
    entry_ = std::move(entry);
    targets(source, line.substr(colon + 1));
  }

  void close_entry() {
    if (!entry_) return;
    if (entry_->to.empty() && !troubled_)
      report_.add(Mistake{entry_->where.file, entry_->where.line, entry_->where.column, {},
                          '"' + base::printable(entry_->name, 60) + '"', "expected at least one address behind the colon"});
    domain_.alias_lines.push_back(*std::exchange(entry_, std::nullopt));
  }

  // What a line lists, up to a comment.
  void targets(const Source& source, std::string_view rest) {
    for (bool more = true; more;) {
      const auto end = find_end(rest, ",#");
      const auto item = base::trim(rest.substr(0, end));
      if (!item.empty()) target(source, item);
      more = end < rest.size() && rest[end] == ',';
      if (more) rest.remove_prefix(end + 1);
    }
  }

  void target(const Source& source, std::string_view item) {
    auto bare = item;
    if (bare.front() == '"') bare.remove_prefix(1);
    if (bare.starts_with('|'))
      return wrong(source, item, "mail is handed to no program: deliver it to a mailbox, or to a host by SMTP or LMTP");
    if (bare.starts_with('/'))
      return wrong(source, item, "mail is written to no file: name a mailbox; what is to vanish goes to a domain whose route is \"discard\"");
    if (base::to_lower(bare.substr(0, kInclude.size())) == kInclude) {
      bare.remove_prefix(kInclude.size());
      if (item.front() == '"' && bare.ends_with('"')) bare.remove_suffix(1);
      return include(source, item, base::trim(bare));
    }
    if (bare.starts_with(':'))
      return wrong(source, item, "expected an address, or \":include:\" and the name of a file");
    address(source, item);
  }

  void address(const Source& source, std::string_view item) {
    auto bare = without_comments(item);
    if (!bare) return wrong(source, item, "expected \")\" behind the comment");
    auto& text = *bare;
    if (const auto open = find_end(text, "<"); open < text.size()) {  // "Carol Jones" <carol@example.com>
      if (text.back() != '>') return wrong(source, item, "expected \">\" behind the address");
      text = std::string(base::trim(std::string_view(text).substr(open + 1, text.size() - open - 2)));
    }
    const bool last = text.starts_with('\\');
    if (last) text.erase(0, 1);
    if (text.empty()) return wrong(source, item, "expected an address");
    const bool whole = text.back() != '"' && text.find('@') != std::string::npos;
    auto parsed = parse_address(whole ? text : text + '@' + domain_.names.front().text());
    if (!parsed) return wrong(source, item, parsed.error());
    if (++listed_ > kMaxListed) {
      if (listed_ == kMaxListed + 1)
        wrong(source, item, fmt::format("expected at most {} addresses in a file and what it includes", kMaxListed));
      return;
    }
    entry_->to.push_back({*std::move(parsed), last, at(source, item)});
  }

  void include(const Source& from, std::string_view item, std::string_view name) {
    const auto path = parse_path(name, from.path);
    if (!path) return wrong(from, item, "expected the name of a file behind \":include:\"");
    if (from.depth >= kMaxIncludeDepth)
      return wrong(from, item, fmt::format("files include each other more than {} deep", kMaxIncludeDepth));
    if (++includes_ > kMaxIncluded)
      return wrong(from, item, fmt::format("more than {} files are included", kMaxIncluded));
    const auto content = read_file(*path, kMaxAliasesFile);
    if (!content) return wrong(from, item, fmt::format("the file {} {}", *path, content.error()));
    Source source{*path, 0, from.depth + 1};
    each_line(source, *content, [&](std::string_view line) { targets(source, line); });
  }

  // `part` is a part of the source's line.
  static Where at(const Source& source, std::string_view part) {
    return {source.path, source.line, static_cast<std::uint32_t>(part.data() - source.text.data()) + 1};
  }

  void wrong(const Source& source, std::string_view part, std::string text) {
    troubled_ = true;
    if (++bad_ > kMaxBadLines) return;
    const auto where = at(source, part);
    report_.add(Mistake{where.file, where.line, where.column, {}, '"' + base::printable(part, 60) + '"', std::move(text)});
  }

  DomainSection& domain_;
  Report& report_;
  std::optional<AliasLine> entry_;
  bool broken_ = false;    // the entry's name is wrong: what goes on with it is passed over
  bool troubled_ = false;  // a mistake of the entry was reported
  std::unordered_map<std::string, Where> places_;
  std::size_t bad_ = 0, listed_ = 0, includes_ = 0;
};

}  // namespace

void read_aliases_file(const std::string& path, const Where& where, DomainSection& domain, Report& report) {
  const auto content = read_file(path, kMaxAliasesFile);
  if (!content) return report.add(where, "domain.aliases", fmt::format("the file {} {}", path, content.error()));
  Reader(domain, report).read(path, *content);
}

}  // namespace postern::config
