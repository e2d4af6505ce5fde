// Parking: the connections of one next hop that wait for work. Most next hops have none, and there may be
// as many of them as queues: without any it is one pointer. Pure.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace postern::queued {

using DelivererId = base::Strong<struct DelivererTag, std::uint32_t>;

struct Parked {  // a connection that asked for work
  DelivererId deliverer;
  base::RequestId request;
  base::GrantId grant;
};

class Parking {
 public:
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::size_t size() const { return all_ ? all_->size() : 0; }
  // The longest waiting; there is one.
  [[nodiscard]] const Parked& front() const { return all_->front(); }
  void add(const Parked& parked) {
    if (!all_) all_ = std::make_unique<std::vector<Parked>>();
    all_->push_back(parked);
  }
  // nullopt: it does not wait here.
  std::optional<Parked> take(base::GrantId grant) {
    if (!all_) return std::nullopt;
    const auto at = std::ranges::find(*all_, grant, &Parked::grant);
    if (at == all_->end()) return std::nullopt;
    const Parked parked = *at;
    all_->erase(at);
    return parked;
  }
  // And gives back its memory.
  std::vector<Parked> take_all() {
    const auto all = std::exchange(all_, nullptr);
    return all ? std::move(*all) : std::vector<Parked>();
  }

 private:
  std::unique_ptr<std::vector<Parked>> all_;
};

}  // namespace postern::queued
