#include "deliverd/local/quota.h"

#include <algorithm>

#include "common/base/text.h"

namespace postern::local {

std::optional<std::uint64_t> size_in_name(std::string_view name) noexcept {
  constexpr std::string_view kSize = ",S=";
  // Behind ":2," stand flags, of which S is one.
  name = name.substr(0, name.find(':'));
  const auto at = name.find(kSize);
  if (at == std::string_view::npos) return std::nullopt;
  const auto value = name.substr(at + kSize.size());
  return base::parse_number(value.substr(0, value.find(',')));
}

Room Quota::take_in_maildir(const std::string& maildir, std::uint64_t size) {
  return take(maildir, size, &Quota::count_maildir);
}

Room Quota::take_in_directory(const std::string& directory, std::uint64_t size) {
  return take(directory, size, &Quota::count_directory);
}

Room Quota::take(const std::string& place, std::uint64_t size, Count count) {
  if (limit_ == 0) return Room::kEnough;
  if (size > limit_) return Room::kNever;
  if (const auto room = take_of_known(place, size)) return *room;
  // It may take longer than kFresh; two that count the same place at once only do it twice.
  const auto used = (this->*count)(place);
  const std::scoped_lock lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  const auto now = clock_.steady();
  auto& known = known_.try_emplace(place, Known{used, now}).first->second;
  if (now - known.since > kFresh) known = {used, now};
  return take_of(known, size);
}

std::optional<Room> Quota::take_of_known(const std::string& place, std::uint64_t size) {
  const std::scoped_lock lock(mutex_);
  const auto at = known_.find(place);
  if (at == known_.end()) return std::nullopt;
  if (clock_.steady() - at->second.since > kFresh) {
    known_.erase(at);
    return std::nullopt;
  }
  return take_of(at->second, size);
}

Room Quota::take_of(Known& known, std::uint64_t size) const {
  if (known.used > limit_ || size > limit_ - known.used) return Room::kFull;
  known.used += size;
  return Room::kEnough;
}

void Quota::give_back(const std::string& place, std::uint64_t size) {
  const std::scoped_lock lock(mutex_);
  if (const auto at = known_.find(place); at != known_.end())
    at->second.used -= std::min(size, at->second.used);
}

// A folder is a directory ".name" with new and cur of its own.
std::uint64_t Quota::count_maildir(const std::string& maildir) const {
  auto used = count_directory(maildir + "/new") + count_directory(maildir + "/cur");
  const auto names = disk_.list(maildir);
  if (!names) return used;  // it is not there yet
  std::size_t folders = 0;
  for (const auto& name : *names) {
    if (!name.starts_with('.') || ++folders > kMaxFolders) continue;
    const auto folder = maildir + '/' + name;
    used += count_directory(folder + "/new") + count_directory(folder + "/cur");
  }
  return used;
}

std::uint64_t Quota::count_directory(const std::string& directory) const {
  std::uint64_t used = 0;
  const auto names = disk_.list(directory);
  if (!names) return used;
  for (std::size_t i = 0; i < std::min(names->size(), kMaxFiles); ++i) {
    const auto& name = (*names)[i];
    if (const auto told = size_in_name(name)) {
      used += *told;
    } else if (const auto file = disk_.open(directory + '/' + name, os::OpenMode::kRead); file) {
      used += (*file)->size().value_or(0);  // what cannot be read is not ours
    }
  }
  return used;
}

}  // namespace postern::local
