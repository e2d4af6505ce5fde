// Any bytes as a web server's answer, and its body as a policy: however they are cut, the same comes of them,
// within its limits; and what is a policy is one again when it is written down and read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "deliverd/fetch/http.h"
#include "deliverd/fetch/sts.h"

namespace {

using namespace postern::fetch;

struct Result {
  HttpReader::State state;
  std::string body, trouble;
  bool operator==(const Result&) const = default;
};

Result read(std::string_view wire, std::size_t piece) {
  HttpReader reader(kMaxStsPolicy);
  for (std::size_t at = 0; at < wire.size(); at += piece) reader.feed(wire.substr(at, piece));
  const auto state = reader.ended(true);
  CHECK(state != HttpReader::State::kReading);
  return {state, state == HttpReader::State::kDone ? reader.body() : "", reader.trouble()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = read(wire, wire.size());
  CHECK(read(wire, 1) == whole);
  CHECK(read(wire, 1U + data[0]) == whole);
  CHECK(whole.body.size() <= kMaxStsPolicy);

  const auto policy = read_sts_policy(whole.state == HttpReader::State::kDone ? whole.body : wire);
  if (!policy) {
    CHECK(!policy.error().empty());
    return 0;
  }
  CHECK(policy->max_age >= postern::base::Millis(0) && policy->max_age <= kMaxStsAge);
  const auto back = postern::ipc::decode<StsPolicy>(postern::ipc::encode(*policy));
  CHECK(back && *back == *policy);
  for (const auto& host : policy->hosts)
    CHECK(names_host(*policy, host.starts_with("*.") ? "x" + host.substr(1) : host));
  return 0;
}
