// Prints the sample notice of that name in wire form, for parse_notice.py.
#include <cstdio>

#include "tests/unit/mail/notice_sample.h"

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  const auto notice =
      postern::mail::build_notice(postern::mail::test::notice_named(argv[1]));
  return std::fwrite(notice.text.data(), 1, notice.text.size(), stdout) == notice.text.size() ? 0 : 1;
}
