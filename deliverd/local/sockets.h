// Sockets of the local deliverer: it cannot connect, so the parent does, to what the configuration names.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "common/role/role.h"
#include "deliverd/relay/sockets.h"

namespace postern::local {

class Sockets final : public relay::Sockets {
 public:
  explicit Sockets(role::Host& host) : host_(host) {}

  // Their paths, in the order of the configuration that is in force.
  void use(std::vector<std::string> paths) { paths_ = std::move(paths); }
  void connect(const std::string& path, Connected connected) override {
    const auto at = std::find(paths_.begin(), paths_.end(), path);
    // None of them, after a reload: a place that the parent does not know either.
    host_.ask_socket(static_cast<std::uint32_t>(at - paths_.begin()), std::move(connected));
  }

 private:
  role::Host& host_;
  std::vector<std::string> paths_;
};

}  // namespace postern::local
