// A message and its recipients as they stand in memory. Changed only by Messages::apply(), from the
// journal's records, alive and at replay alike.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "queued/record.h"

namespace postern::queued {

// The last failure, shared by the recipients that it struck together.
struct Trouble {
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  std::string remote;
};

struct Recipient {
  mail::Address address;
  std::shared_ptr<const Trouble> trouble;  // null: nothing was tried yet
  base::WallTime last_try;
  QueueTime next_try{0};
  std::uint32_t number = 0;
  std::uint32_t tries = 0;
  ipc::RecipientEnd end = ipc::RecipientEnd::kOpen;
  [[nodiscard]] bool open() const { return end == ipc::RecipientEnd::kOpen; }
};

struct Message {
  base::MessageId id;
  base::Token token;
  base::WallTime arrived;
  QueueTime born{0};
  base::IpAddress client;
  std::string hello;
  mail::ReversePath from;
  std::string prefix;
  std::string held;  // why; empty: not held
  std::uint64_t body_size = 0;
  std::uint32_t body_crc = 0;  // of a large body
  ipc::BodyForm form = ipc::BodyForm::kStuffed;
  bool eight_bit = false;
  bool notice = false;
  bool damaged = false;
  bool large = false;
  bool moving = false;   // its copy into a newer segment is under way
  bool checked = false;  // large: size and checksum were found right in this life
  std::vector<Recipient> recipients;  // by number, rising
  std::uint32_t open = 0;             // recipients
  Place place;                        // of its newest whole record
  std::shared_ptr<const std::string> body;  // fresh ones within the cache's budget

  [[nodiscard]] std::uint64_t size() const { return prefix.size() + body_size; }
};

}  // namespace postern::queued
