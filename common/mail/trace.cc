#include "common/mail/trace.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/mail/dsn.h"

namespace postern::mail {
namespace {

constexpr std::size_t kMaxColumns = 78;
constexpr std::size_t kUsualSize = 400;  // of a field at most: it grows but once

// A header field whose words go to a new line where the old one is full.
class Field {
 public:
  explicit Field(std::string_view name) {
    text_.reserve(kUsualSize);
    text_ += name;
  }
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
  for (const char c : text)
    clean += c >= ' ' && c <= '~' && c != '(' && c != ')' && c != '\\' ? c : '?';
  return clean;
}

// Of an address; nothing where there is none.
std::string literal(const std::optional<base::IpAddress>& client) {
  if (!client) return {};
  const auto& address = *client;
  if (address.is_unspecified()) return "unknown";
  const std::string_view tag = address.family == base::IpFamily::kV6 ? "[IPv6:" : "[";
  return std::string(tag) + base::to_string(address) + ']';
}

// Each word of `text` by itself, so that lines stay short.
void words(std::string_view text, Field& field) {
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    if (!word.empty()) field.word(word);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
}

// RFC 3848 and RFC 6531 4.3; there is no SMTPS.
std::string_view name(WithProtocol with, bool tls, bool logged_in) {
  switch (with) {
    case WithProtocol::kSmtp:
      return "SMTP";
    case WithProtocol::kEsmtp:
      if (logged_in) return tls ? "ESMTPSA" : "ESMTPA";
      return tls ? "ESMTPS" : "ESMTP";
    case WithProtocol::kUtf8Smtp:
      if (logged_in) return tls ? "UTF8SMTPSA" : "UTF8SMTPA";
      return tls ? "UTF8SMTPS" : "UTF8SMTP";
  }
  CHECK(false);
}

}  // namespace

std::string received_field(const Received& received) {
  Field field("Received: from");
  const std::string address = literal(received.client);
  if (is_hello_name(received.hello)) {
    field.word(received.hello);
    if (!address.empty() && !received.client_name.empty())
      field.word('(' + comment_text(received.client_name.substr(0, kMaxClientName)))
          .word(address + ')');
    else if (!address.empty())
      field.word("(" + address + ")");
  } else {  // said nothing, or nothing that may stand here
    field.word(address.empty() ? "localhost" : address);
  }
  if (!received.forwarded.empty()) {
    field.line("(forwarded");
    words(comment_text(received.forwarded.substr(0, kMaxForwarded)) + ')', field);
  }
  field.line("by").word(received.hostname).word("with");
  field.word(name(received.with, !received.tls.empty(), received.logged_in));
  if (!received.tls.empty()) {
    const bool known = !received.tls_peer.empty();
    std::string tls(1, '(');
    tls.append(comment_text(received.tls.substr(0, kMaxTlsText))).push_back(known ? ',' : ')');
    field.line(tls);
    if (known) field.word("client").word("certificate").word(comment_text(received.tls_peer.substr(0, kMaxTlsPeer)) + ")");
  }
  const bool alone = received.only_recipient != nullptr;
  field.word("id " + base::to_string(received.id) + (alone ? "" : ";"));
  if (alone) field.line("for").word('<' + received.only_recipient->text() + ">;");
  return field.line(base::rfc5322_date(received.when)).take();
}

std::string delivered_to(const Address& alias) {
  return alias.needs_utf8() ? to_utf8_xtext(alias.text()) : alias.text();
}

std::string date_field(base::WallTime when) {
  return "Date: " + base::rfc5322_date(when) + "\r\n";
}

std::string message_id_field(base::MessageId id, std::string_view hostname) {
  return "Message-ID: <" + base::to_string(id) + '@' + std::string(hostname) + ">\r\n";
}

std::string return_path_field(const ReversePath& path) {
  return "Return-Path: <" + path.text() + ">\r\n";
}

}  // namespace postern::mail
