// Messages by their Message-ID field (RFC 5322 3.6.4). No record keeps it, so the header is read where the body is: of
// each message a piece of the beginning, a few messages in a turn of the loop. Searched for by its whole text alone: who
// may only look at the queue learns nothing of a header but what he knows already.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "queued/engine.h"

namespace postern::queued {

inline constexpr std::size_t kMaxSearchedHead = 64 * 1024;  // of a header; a field behind that is not found

enum class MessageIdField : std::uint8_t { kNone, kOther, kSame };
// Does the header that this begins with have such a field, and one with this id? `wanted`: without angle brackets.
// Pure.
[[nodiscard]] MessageIdField find_message_id(std::string_view head, std::string_view wanted);

// Those of `ids` whose headers have it, in the same order. A message whose body is damaged is not among them.
using Found = std::move_only_function<void(std::vector<base::MessageId>) noexcept>;
void search_headers(Engine& engine, std::vector<base::MessageId> ids, std::string wanted, Found found);

}  // namespace postern::queued
