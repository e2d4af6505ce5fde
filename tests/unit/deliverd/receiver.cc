#include "tests/unit/deliverd/receiver.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::relay {
namespace {

constexpr std::size_t kMaxRepeat = 1'000'000;

[[noreturn]] void malformed(const std::string& path, unsigned line, std::string_view what) {
  std::fputs(fmt::format("{}:{}: {}\n", path, line, what).c_str(), stderr);
  std::exit(2);
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'x') {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else if (c == '(') {
      const auto star = text.find('*', i);
      const auto close = text.find(')', i);
      const auto count =
          std::min<std::size_t>(std::stoul(std::string(text.substr(i + 1))), kMaxRepeat);
      const auto unit = unescaped(text.substr(star + 1, close - star - 1));
      for (std::size_t n = 0; n < count; ++n) out += unit;
      i = close;
    } else {
      const std::string_view from = "rnt0\\", to("\r\n\t\0\\", 5);
      const auto at = from.find(c);
      out += at == std::string_view::npos ? c : to[at];
    }
  }
  return out;
}

std::optional<base::Millis> seconds(std::string_view text) {
  if (!text.ends_with('s')) return std::nullopt;
  const auto number = base::parse_number(text.substr(0, text.size() - 1));
  if (!number) return std::nullopt;
  return std::chrono::seconds(*number);
}

// With all that RFC 3461 lets its sender say.
void want_reports(Envelope& message) {
  message.ret = mail::Return::kHeaders;
  message.envid = mail::EnvelopeId::parse("QQ+2B1").value();
  auto& first = message.recipients.front();
  first.notify = mail::Notify::parse("DELAY,SUCCESS").value();
  first.orcpt = mail::OriginalRecipient::parse("rfc822;old+2Br1@example.org").value();
}

Introduction from_client() {
  return {ipc::FirstClient{base::parse_ip("192.0.2.7"), "4321", "client.example", "hello.example", "ESMTP"},
          "0Q7M3K9XD2B4A"};
}

Introduction from_long_client() {
  auto made = from_client();
  made.client->name = std::string(255, 'n');
  made.client->hello = std::string(255, 'h');
  return made;
}

Envelope message(const std::string& words) {
  Envelope made{"a@us.example", {}, 100, false, true, {}, {}};
  std::istringstream in(words);
  for (std::string word; in >> word;) {
    if (word == "8bit") {
      made.eight_bit = true;
    } else if (word == "utf8") {  // its header is, so it is of 8 bits
      made.eight_bit = made.utf8_header = true;
    } else if (word == "binary") {
      made.binary = true;
    } else if (word == "file") {
      made.in_memory = false;
    } else if (word == "probe") {
      made.probe = true;
    } else if (word == "requiretls") {
      made.require_tls = true;
    } else if (word == "doubtful") {
      made.doubt = "hostname mismatch";
    } else if (word == "nobody") {
      made.from.clear();
    } else if (word == "reports") {
      want_reports(made);
    } else if (word == "client") {
      made.introduction = from_client();
    } else if (word == "long-client") {
      made.introduction = from_long_client();
    } else if (word == "ours") {
      made.introduction = Introduction{std::nullopt, from_client().ident};
    } else if (word.starts_with("size=")) {
      made.size = base::parse_number(word.substr(5)).value();
    } else {
      if (word.find('@') == std::string::npos) word += "@example.org";
      made.recipients.push_back({word, {}, {}, !base::is_ascii(word)});
    }
  }
  return made;
}

bool set(Receiver& r, const std::string& key, const std::string& value) {
  if (key == "message") return r.messages.push_back(message(value)), true;
  if (key == "tls") {
    r.tls = value == "if offered" ? TlsUse::kIfOffered
            : value == "always"   ? TlsUse::kAlways
                                  : TlsUse::kFromStart;
    return value == "if offered" || value == "always" || value == "from start";
  }
  if (key == "protocol") {
    r.dialect = Dialect::kLmtp;
    return value == "lmtp";
  }
  if (key == "login") {
    const auto space = value.find(' ');
    if (space == std::string::npos) return false;
    r.account = std::make_shared<HopAccount>(value.substr(0, space), value.substr(space + 1));
    return true;
  }
  if (key == "pass_client") {
    r.pass = value == "xclient" ? config::PassClient::kXclient : config::PassClient::kXforward;
    return value == "xclient" || value == "xforward";
  }
  if (key == "pieces") return r.whole = value == "whole";
  return false;
}

bool add_step(Receiver& r, const std::string& text, unsigned at) {
  using Kind = ReceiverStep::Kind;
  const auto argument = text.size() > 3 ? text.substr(3) : std::string();
  const auto timed = [&](Kind kind, std::size_t prefix) {
    const auto time = seconds(std::string_view(text).substr(prefix));
    r.steps.push_back({kind, {}, false, time.value_or(base::Millis(0)), at});
    return time.has_value();
  };
  if (text.starts_with("S:"))
    r.steps.push_back({Kind::kSay, argument, true, {}, at});
  else if (text.starts_with("X: "))
    r.steps.push_back({Kind::kSay, unescaped(argument), false, {}, at});
  else if (text.starts_with("C: "))
    r.steps.push_back({Kind::kExpect, argument, false, {}, at});
  else if (text == "!tls")
    r.steps.push_back({Kind::kTls, {}, false, {}, at});
  else if (text == "!no tls")
    r.steps.push_back({Kind::kNoTls, {}, false, {}, at});
  else if (text == "!silence")
    r.steps.push_back({Kind::kSilence, {}, false, {}, at});
  else if (text == "!close")
    r.steps.push_back({Kind::kClose, {}, false, {}, at});
  else if (text.starts_with("!wait "))
    return timed(Kind::kWait, 6);
  else if (text.starts_with("!drip "))
    return timed(Kind::kDrip, 6);
  else if (text.starts_with("M: "))
    r.outcomes.push_back(argument);
  else if (text.starts_with("E: "))
    r.end = argument;
  else if (text.starts_with("T: "))
    r.took = seconds(argument).value_or(base::Millis(-1));
  else
    return text.empty();
  return true;
}

}  // namespace

Receiver read_receiver(const std::string& path) {
  Receiver r;
  r.name = std::filesystem::path(path).stem().string();
  std::ifstream file(path);
  bool in_settings = true;
  unsigned line = 0;
  for (std::string text; std::getline(file, text);) {
    ++line;
    if (text.starts_with('#')) continue;
    if (in_settings && text.empty()) {
      in_settings = false;
    } else if (in_settings) {
      const auto colon = text.find(':');
      if (colon == std::string::npos) malformed(path, line, "no setting");
      const auto value = std::string(base::trim(std::string_view(text).substr(colon + 1)));
      if (!set(r, text.substr(0, colon), value)) malformed(path, line, "unknown setting");
    } else if (!add_step(r, text, line)) {
      malformed(path, line, "unknown step");
    }
  }
  if (r.messages.empty() || r.steps.empty()) malformed(path, line, "no message, or no steps");
  return r;
}

}  // namespace postern::relay
