#include "queued/expansion.h"

#include <algorithm>
#include <unordered_map>

namespace postern::queued {
namespace {

// Without success; who asked for nothing else wants to hear nothing.
mail::Notify without_success(mail::Notify notify) {
  if (!notify.success()) return notify;
  const auto rest = static_cast<std::uint8_t>(notify.bits() & ~mail::Notify::kSuccess);
  return mail::Notify::from_bits(rest != 0 ? rest : mail::Notify::kNever).value_or(notify);
}

// All it stands for is one mailing list.
bool is_of_one_list(const config::Alias& alias) {
  const auto& targets = alias.targets;
  return !targets.empty() && targets.front().sender &&
         std::all_of(targets.begin(), targets.end(),
                     [&](const config::AliasTarget& target) { return target.sender == targets.front().sender; });
}

mail::Notify success_alone() { return mail::Notify::from_bits(mail::Notify::kSuccess).value_or(mail::Notify()); }

class Expansion {
 public:
  // `alone`: of one recipient, which is no alias.
  Expansion(bool null_sender, bool alone, const KeyOf& key_of)
      : null_sender_(null_sender), alone_(alone), key_of_(key_of) {}

  void add(Named&& named) {
    if (named.decision.alias) return add_alias(named, *named.decision.alias);
    RecipientRecord one;
    one.notify = named.notify;
    one.orcpt = std::move(named.orcpt);
    auto& rewritten = named.decision.rewritten;
    if (rewritten && one.orcpt.empty()) one.orcpt = original_of(named.address);
    one.address = std::move(rewritten ? *rewritten : named.address);
    add(std::move(one));
  }

  std::vector<RecipientRecord> take() {
    for (std::uint32_t number = 0; number < all_.size(); ++number) all_[number].number = number;
    return std::move(all_);
  }

 private:
  void add_alias(const Named& named, const config::Alias& alias) {
    const bool list = alias.list && !null_sender_;
    const bool several = list || alias.targets.size() > 1;
    const auto orcpt = named.orcpt.empty() ? original_of(named.address) : named.orcpt;
    RecipientRecord member;
    member.alias = named.address.text();
    if (!list) {
      member.notify = several ? without_success(named.notify) : named.notify;
      member.orcpt = orcpt;
    }
    bool apart = several;  // none of them is reported as delivered for this name
    for (const auto& target : alias.targets) {
      auto one = member;
      one.address = target.address;
      if (!null_sender_ && target.sender) {  // of this list, or of one that is a member of it
        one.sender = target.sender;
        one.notify = {};
        one.orcpt = {};
        apart = true;
      } else if (!null_sender_ && joins_another(one)) {
        one.notify = without_success(one.notify);
        apart = true;
      }
      add(std::move(one));
    }
    if (!apart || !named.notify.success()) return;
    member.address = alias.address;
    member.notify = success_alone();
    member.orcpt = orcpt;
    member.expanded = list || (!null_sender_ && is_of_one_list(alias)) ? Expanded::kList : Expanded::kAlias;
    // Where it ends counts apart from its recipients, of whom one may have its very name.
    if (known_.emplace('\n' + alias.address.text(), all_.size()).second) all_.push_back(std::move(member));
  }

  // It is known by another name, under which its reports go.
  [[nodiscard]] bool joins_another(const RecipientRecord& one) const {
    const auto known = known_.find(key_of_(one.address));
    if (known == known_.end()) return false;
    const auto& before = all_[known->second];
    return !before.sender && (before.alias != one.alias || before.orcpt != one.orcpt);
  }

  void add(RecipientRecord one) {
    if (alone_) return all_.push_back(std::move(one));
    const auto [known, fresh] = known_.emplace(key_of_(one.address), all_.size());
    if (fresh) return all_.push_back(std::move(one));
    auto& before = all_[known->second];
    if (before.sender == one.sender)
      before.notify = mail::Notify::both(before.notify, one.notify);
    else if (before.sender && !one.sender)
      before = std::move(one);
  }

  const bool null_sender_;
  const bool alone_;
  const KeyOf& key_of_;
  std::vector<RecipientRecord> all_;
  // By key; behind "\n", which no key has, those of aliases themselves.
  std::unordered_map<std::string, std::size_t> known_;
};

}  // namespace

mail::OriginalRecipient original_of(const mail::Address& named) {
  const auto type = named.needs_utf8() ? "utf-8;" : "rfc822;";
  return mail::OriginalRecipient::from_text(type + named.text()).value_or(mail::OriginalRecipient());
}

std::vector<RecipientRecord> expand(std::vector<Named> named, bool null_sender, const KeyOf& key_of) {
  Expansion expansion(null_sender, named.size() == 1 && !named.front().decision.alias, key_of);
  for (auto& one : named) expansion.add(std::move(one));
  return expansion.take();
}

}  // namespace postern::queued
