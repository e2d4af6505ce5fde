// What `show` and `explain` tell alike of a message as a whole.
#pragma once

#include "queued/message.h"

namespace postern::queued {

template <class Answer>
void tell_whole(const Message& message, Answer& answer) {
  answer.found = true;
  answer.from = message.from;
  answer.hello = message.hello;
  answer.client = message.client;
  answer.arrived = message.arrived;
  answer.size = message.size();
  answer.bounce = message.notice;
  answer.origin = message.origin;
}

}  // namespace postern::queued
