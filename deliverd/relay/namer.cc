#include "deliverd/relay/namer.h"

#include <algorithm>
#include <utility>

namespace postern::relay {

void Namer::ask(const ipc::AskName& question) {
  const auto number = question.request.value;
  if (open_.size() >= kMostOpen || open_.contains(number))
    return answered_({question.request, ipc::NameState::kUnclear, {}, {}});
  auto& open = open_[number];
  open.client = question.client;
  open.query = resolver_.names(question.client, [this, number](dns::NamesAnswer answer) noexcept {
    on_names(number, std::move(answer));
  });
}

void Namer::on_names(std::uint64_t number, dns::NamesAnswer answer) {
  auto& open = open_.at(number);
  switch (answer.status) {
    case dns::Status::kTemporary:
      return end(number, ipc::NameState::kUnclear, {});
    case dns::Status::kNoData:
    case dns::Status::kNoDomain:
      return end(number, ipc::NameState::kNone, {});
    case dns::Status::kRecords:
      break;
  }
  open.names = std::move(answer.names);
  std::reverse(open.names.begin(), open.names.end());
  open.ttl = answer.ttl;
  try_next(number, open);
}

void Namer::try_next(std::uint64_t number, Open& open) {
  if (open.names.empty())
    return end(number, open.unclear ? ipc::NameState::kUnclear : ipc::NameState::kNone, open.ttl);
  open.name = std::move(open.names.back());
  open.names.pop_back();
  open.query = resolver_.addresses(open.name, open.client.family,
                                   [this, number](dns::AddressAnswer answer) noexcept {
                                     on_addresses(number, answer);
                                   });
}

void Namer::on_addresses(std::uint64_t number, const dns::AddressAnswer& answer) {
  auto& open = open_.at(number);
  const auto& found = answer.addresses;
  if (std::find(found.begin(), found.end(), open.client) != found.end())
    return end(number, ipc::NameState::kConfirmed, std::min(open.ttl, answer.ttl));
  open.unclear = open.unclear || answer.status == dns::Status::kTemporary;
  try_next(number, open);
}

void Namer::end(std::uint64_t number, ipc::NameState state, base::Millis ttl) {
  auto open = open_.extract(number);
  const bool named = state == ipc::NameState::kConfirmed;
  answered_({base::RequestId(number), state, named ? open.mapped().name.text() : std::string(), ttl});
}

}  // namespace postern::relay
