// Says of each address on standard input, one a line in hexadecimal, what the address type makes of it.
#include <charconv>
#include <iostream>
#include <string>

#include "common/mail/address.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::string text;
    for (std::size_t i = 0; i + 1 < line.size(); i += 2) {
      unsigned byte = 0;
      std::from_chars(line.data() + i, line.data() + i + 2, byte, 16);
      text += static_cast<char>(byte);
    }
    const auto address = postern::mail::Address::parse(text);
    std::cout << (address ? "ok " + address->text() : "error " + address.error().text) << '\n';
  }
  return 0;
}
