// Prints the sample notice in wire form, for parse_notice.py.
#include <cstdio>

#include "tests/unit/mail/notice_sample.h"

int main() {
  const auto text = postern::mail::build_notice(postern::mail::test::sample_notice());
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
