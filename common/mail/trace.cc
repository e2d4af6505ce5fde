#include "common/mail/trace.h"

#include "common/base/check.h"
#include "common/base/text.h"

namespace postern::mail {
namespace {

constexpr std::size_t kMaxColumns = 78;

// A header field whose words go to a new line where the old one is full.
class Field {
 public:
  explicit Field(std::string_view name) : text_(name) {}
  Field& word(std::string_view word) {
    if (column() + 1 + word.size() > kMaxColumns) return line(word);
    text_ += ' ';
    text_ += word;
    return *this;
  }
  // On a new line.
  Field& line(std::string_view word) {
    text_ += "\r\n\t";
    line_begin_ = text_.size() - 1;
    text_ += word;
    return *this;
  }
  [[nodiscard]] std::string take() {
    text_ += "\r\n";
    return std::move(text_);
  }

 private:
  [[nodiscard]] std::size_t column() const noexcept { return text_.size() - line_begin_; }
  std::string text_;
  std::size_t line_begin_ = 0;
};

// Of a comment: no byte that would end it or the line.
std::string comment_text(std::string_view text) {
  std::string clean;
  for (const char c : text.substr(0, kMaxTlsPeer))
    clean += c >= ' ' && c <= '~' && c != '(' && c != ')' && c != '\\' ? c : '?';
  return clean;
}

std::string literal(const base::IpAddress& address) {
  const std::string_view tag = address.family == base::IpFamily::kV6 ? "[IPv6:" : "[";
  return std::string(tag) + base::to_string(address) + ']';
}

// RFC 3848; there is no SMTPS.
std::string_view name(WithProtocol with, bool tls, bool logged_in) {
  switch (with) {
    case WithProtocol::kSmtp:
      return "SMTP";
    case WithProtocol::kEsmtp:
      if (logged_in) return tls ? "ESMTPSA" : "ESMTPA";
      return tls ? "ESMTPS" : "ESMTP";
  }
  CHECK(false);
}

}  // namespace

std::string received_field(const Received& received) {
  Field field("Received: from");
  const std::string address = received.client ? literal(*received.client) : std::string();
  if (is_hello_name(received.hello)) {
    field.word(received.hello);
    if (!address.empty()) field.word("(" + address + ")");
  } else {  // said nothing, or nothing that may stand here
    field.word(address.empty() ? "localhost" : address);
  }
  field.line("by").word(received.hostname).word("with");
  field.word(name(received.with, !received.tls.empty(), received.logged_in));
  if (!received.tls.empty()) {
    const bool known = !received.tls_peer.empty();
    std::string tls(1, '(');
    tls.append(comment_text(received.tls)).push_back(known ? ',' : ')');
    field.line(tls);
    if (known) field.word("client").word("certificate").word(comment_text(received.tls_peer) + ")");
  }
  const bool alone = received.only_recipient != nullptr;
  field.word("id " + base::to_string(received.id) + (alone ? "" : ";"));
  if (alone) field.line("for").word('<' + received.only_recipient->text() + ">;");
  return field.line(base::rfc5322_date(received.when)).take();
}

std::string return_path_field(const ReversePath& path) {
  return "Return-Path: <" + path.text() + ">\r\n";
}

}  // namespace postern::mail
