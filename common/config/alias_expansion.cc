#include "common/config/alias_expansion.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/cut.h"
#include "common/config/segment_room.h"

namespace postern::config {
namespace {

constexpr std::string_view kOwner = "owner-";

using Targets = std::vector<AliasTarget>;

class Expander {
 public:
  Expander(Config& config, Report& report)
      : config_(config), report_(report), users_(rights_of(config)), most_(most_targets(config)) {
    for (const auto& domain : config.domains) {
      for (const auto& name : domain.names) sections_.emplace(name.text(), lines_.size());
      auto& names = lines_.emplace_back();
      for (std::size_t i = 0; i < domain.alias_lines.size(); ++i) names.emplace(domain.alias_lines[i].name, i);
      done_.emplace_back(domain.alias_lines.size());
    }
  }

  void expand_all() {
    for (std::size_t section = 0; section < config_.domains.size(); ++section) {
      auto& domain = config_.domains[section];
      for (std::size_t i = 0; i < domain.alias_lines.size() && !gave_up_; ++i) {
        const auto& line = domain.alias_lines[i];
        if (line.name == "postmaster") warn_of_postmaster(line);
        auto targets = expand({section, i});
        all_ += targets.size();
        if (all_ > kMaxAllTargets) give_up(line);
        const auto count = static_cast<std::uint32_t>(targets.size());
        domain.aliases.push_back(
            {line.name, line.address, count, owner_of({section, i}).has_value(), std::move(targets)});
      }
    }
    if (warnings_ > kMaxAliasWarnings)
      config_.alias_warnings.push_back(
          fmt::format("{} more aliases lead to recipients that nobody knows", warnings_ - kMaxAliasWarnings));
  }

 private:
  struct Id {
    std::size_t section = 0, line = 0;
    friend bool operator==(const Id&, const Id&) = default;
  };
  // What a target is, once domains and postmaster are seen through.
  struct Meaning {
    mail::Address address;
    std::optional<Id> alias;
    bool known = true;
  };

  // So many that a message for it alone is let in.
  static std::size_t most_targets(const Config& config) {
    return std::min<std::size_t>(kMaxTargets, std::max(expanded_of(config), 2U) - 1);
  }

  [[nodiscard]] const AliasLine& line_of(Id id) const { return config_.domains[id.section].alias_lines[id.line]; }

  [[nodiscard]] std::optional<mail::Address> owner_of(Id id) const {
    const auto owner = std::string(kOwner) + line_of(id).name;
    const auto& names = lines_[id.section];
    const auto found = names.find(owner);
    if (found == names.end()) return std::nullopt;
    return config_.domains[id.section].alias_lines[found->second].address;
  }

  // All that it stands for, each once; empty where there was a mistake.
  const Targets& expand(Id id) {
    auto& done = done_[id.section][id.line];
    if (done) return *done;
    static const Targets kNone;
    if (path_.size() >= kMaxAliasDepth) {
      mistake(line_of(id).where, fmt::format("aliases lead to each other more than {} deep: {}", kMaxAliasDepth, path_text(id)));
      return kNone;
    }
    path_.push_back(id);
    Targets all;
    std::unordered_set<std::string> seen;
    const auto owner = owner_of(id);
    for (const auto& to : line_of(id).to) {
      for (auto& target : reached(id, to)) {
        if (owner && !target.sender) target.sender = owner;
        if (seen.insert(users_.key(target.address)).second) all.push_back(std::move(target));
      }
      if (all.size() > most_) {
        mistake(line_of(id).where, fmt::format("this stands for more than {} recipients, the most that one message may have here",
                                               most_));
        all.clear();
        break;
      }
    }
    path_.pop_back();
    return done_[id.section][id.line].emplace(std::move(all));
  }

  // What one of its targets leads to.
  Targets reached(Id from, const AliasName& to) {
    auto meaning = meaning_of(to);
    if (!meaning.alias) {
      if (!meaning.known) warn_of_unknown(from, to, meaning.address);
      return {{std::move(meaning.address), std::nullopt}};
    }
    if (*meaning.alias == from && is_user(meaning.address)) return {{std::move(meaning.address), std::nullopt}};
    if (std::find(path_.begin(), path_.end(), *meaning.alias) != path_.end()) {
      mistake(to.where, fmt::format("this leads back to where it came from: {}; a backslash before a name means its mailbox",
                                    path_text(*meaning.alias)));
      return {};
    }
    return expand(*meaning.alias);
  }

  [[nodiscard]] Meaning meaning_of(const AliasName& to) const {
    auto placed = users_.place(to.address);
    Meaning meaning{placed.rewritten.value_or(to.address), std::nullopt, placed.verdict != Verdict::kNoSuchUser};
    if (placed.verdict == Verdict::kRelay || to.last) return meaning;
    if (const auto at = sections_.find(meaning.address.domain().text()); at != sections_.end())
      meaning.alias = alias_in(at->second, meaning.address);
    return meaning;
  }

  // As RightsIndex looks them up: whole, then without extension, each time before the users.
  [[nodiscard]] std::optional<Id> alias_in(std::size_t section, const mail::Address& address) const {
    const auto& domain = config_.domains[section];
    const std::string_view local_part = address.local_part();
    const auto find = [&](std::string_view part) -> std::optional<Id> {
      const auto found = lines_[section].find(base::folded(part));
      return found == lines_[section].end() ? std::nullopt : std::optional(Id{section, found->second});
    };
    if (auto found = find(local_part)) return found;
    if (domain.extension.empty() || is_entry(domain, address)) return std::nullopt;
    const auto cut = local_part.find(domain.extension);
    return cut == std::string_view::npos ? std::nullopt : find(local_part.substr(0, cut));
  }

  // Does a users file hold it as it stands?
  static bool is_entry(const DomainSection& domain, const mail::Address& address) {
    const auto local_part = base::folded(address.local_part());
    return std::binary_search(domain.users.begin(), domain.users.end(), local_part) ||
           std::binary_search(domain.addresses.begin(), domain.addresses.end(), local_part + '@' + address.domain().text());
  }

  [[nodiscard]] bool is_user(const mail::Address& address) const {
    return users_.place(address).verdict == Verdict::kLocal;
  }

  // "all -> staff -> all"
  [[nodiscard]] std::string path_text(Id end) const {
    static constexpr std::size_t kShown = 10;
    std::string text;
    const auto first = std::find(path_.begin(), path_.end(), end);
    std::size_t shown = 0;
    for (auto at = first == path_.end() ? path_.begin() : first; at != path_.end(); ++at) {
      if (++shown > kShown) {
        text += "... -> ";
        break;
      }
      text += base::printable(line_of(*at).name, 60) + " -> ";
    }
    return text + base::printable(line_of(end).name, 60);
  }

  void mistake(const Where& where, std::string text) { report_.add(where, {}, std::move(text)); }

  void give_up(const AliasLine& line) {
    gave_up_ = true;
    mistake(line.where, fmt::format("all aliases together stand for more than {} recipients", kMaxAllTargets));
  }

  void warn(const Where& where, const std::string& text) {
    if (++warnings_ <= kMaxAliasWarnings)
      config_.alias_warnings.push_back(fmt::format("{}:{}:{}: {}", where.file, where.line, where.column, text));
  }
  void warn_of_unknown(Id from, const AliasName& to, const mail::Address& address) {
    warn(to.where, fmt::format("alias {}: {} is nobody here: what is sent to it comes back",
                               base::printable(line_of(from).name, 60), address.text()));
  }
  void warn_of_postmaster(const AliasLine& line) {
    warn(line.where, fmt::format("alias postmaster: it is not used, for postmaster's mail goes to {} (postmaster)",
                                 config_.postmaster.text()));
  }

  Config& config_;
  Report& report_;
  RightsIndex users_;  // it knows no alias yet
  std::size_t most_;
  std::unordered_map<std::string_view, std::size_t> sections_;            // by domain
  std::vector<std::unordered_map<std::string_view, std::size_t>> lines_;  // by section, by name
  std::vector<std::vector<std::optional<Targets>>> done_;
  std::vector<Id> path_;  // that is being followed
  std::size_t all_ = 0;
  std::size_t warnings_ = 0;
  bool gave_up_ = false;
};

}  // namespace

void expand_aliases(Config& config, Report& report) {
  if (std::all_of(config.domains.begin(), config.domains.end(),
                  [](const DomainSection& domain) { return domain.alias_lines.empty(); }))
    return;
  Expander(config, report).expand_all();
}

}  // namespace postern::config
