// An engine whose notices are looked at.
#pragma once

#include <gtest/gtest.h>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {

inline constexpr base::Millis kHour{3'600'000};

class NoticesTest : public ::testing::Test, protected EngineRig {
 protected:
  NoticesTest();
  ~NoticesTest() override;

  struct To {
    const char* address;
    const char* notify = "";
    const char* orcpt = "";
  };
  base::MessageId post(const std::vector<To>& to, mail::Return ret = mail::Return::kUnsaid,
                       const std::string& text = "Subject: x\r\n\r\n..hello\r\n",
                       const char* from = "ann@example.org");
  base::MessageId post(MessageRecord record, const std::string& text);
  // All its recipients were tried, with these results.
  void conclude(base::MessageId id, std::vector<Attempt> attempts,
                const std::string& remote = "mx.far.example[192.0.2.9]:25");
  static Attempt failed();
  static Attempt deferred();
  static Attempt delivered(ipc::Arrival arrival);
  std::vector<Message> notices();
  std::string only_notice();
  static bool has(const std::string& text, const std::string& part);
};

}  // namespace postern::queued
