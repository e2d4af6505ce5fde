// Cache: the policies that were fetched, each until its time is over (RFC 8461 3.2, 3.3). Pure: what is kept
// over a restart is a text of bytes (encode(), decode()), written and read elsewhere (vault.h).
//
// A policy is fetched again well before its time is over, so that nobody gains by keeping us from its host for
// a while, as long as mail went to the domain within kKeepAlive.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "deliverd/fetch/sts.h"

namespace postern::fetch {

struct Held {
  std::string id;  // of the record in the DNS that named it
  StsPolicy policy;
  base::WallTime fetched;
  base::WallTime used;  // by mail, to the day
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("id", &Held::id, ipc::kPolicyId), ipc::field("policy", &Held::policy),
                          ipc::field("fetched", &Held::fetched), ipc::field("used", &Held::used));
  }
};

class Cache {
 public:
  static constexpr std::size_t kMaxDomains = 20'000;
  static constexpr std::size_t kMaxBytes = 24U << 20;       // encoded
  static constexpr base::Millis kLeastAge{60'000};          // a policy of less is held so long
  static constexpr base::Millis kRefresh{24LL * 3'600'000};  // RFC 8461 3.3: once a day
  static constexpr base::Millis kAgain{3'600'000};          // behind a refresh that failed
  static constexpr base::Millis kKeepAlive{30LL * 24 * 3'600'000};
  static constexpr base::Millis kUsedStep{24LL * 3'600'000};  // how exactly `used` is kept

  // Nothing: there is none whose time is not over. Until the next change.
  [[nodiscard]] const Held* find(const std::string& domain, base::WallTime now) const;
  // Where there is no room, those go that mail has gone by least lately.
  void put(const std::string& domain, Held held);
  // Mail went by it.
  void note_use(const std::string& domain, base::WallTime now);
  // Some whose refresh is due, at most `most`; each only once in kAgain, unless put() comes between.
  [[nodiscard]] std::vector<std::string> due(base::WallTime now, std::size_t most);
  void drop_expired(base::WallTime now);

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  // Whether encode() would say other than when this was last asked.
  [[nodiscard]] bool take_changed() noexcept;

  [[nodiscard]] std::string encode() const;
  // What does not follow the format, or comes from the future (the wall clock was ahead), is left out or cut
  // to what it can be now. `version`: of the format that the bytes are in.
  [[nodiscard]] static Cache decode(std::string_view bytes, std::uint32_t version, base::WallTime now);

 private:
  struct Entry {
    Held held;
    std::size_t bytes = 0;   // encoded
    base::WallTime refresh;  // not before
  };
  void insert(const std::string& domain, Held held);
  void erase(const std::string& domain);
  void make_room(std::size_t bytes);

  std::unordered_map<std::string, Entry> entries_;
  std::size_t bytes_ = 0;
  bool changed_ = false;
};

}  // namespace postern::fetch
