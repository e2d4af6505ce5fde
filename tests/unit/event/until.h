// Waiting in a test for what comes by the event loop.
#pragma once

#include <gtest/gtest.h>

#include "common/event/loop.h"

namespace postern::event {

// Runs the loop until `done`, at most so long; else the test has failed.
template <class Done>
void until(Loop& loop, Done done, base::Millis most = base::Millis(5'000)) {
  bool late = false;
  Timer timer(loop, [&]() noexcept { late = true; });
  timer.start(most);
  loop.run_once(false);
  while (!done() && !late) loop.run_once(true);
  EXPECT_FALSE(late) << "waited in vain";
}

}  // namespace postern::event
