#include "common/ipc/messages.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace postern::ipc {
namespace {

constexpr std::array<std::string_view, kTypeCount> kTypeNames{
    "hello", "boot", "configure", "configured", "peer", "peer_lost", "listen", "tally", "ready", "stop", "processes", "ask_socket", "socket",
    "ask_mailbox", "mailbox_ready", "drop_mailbox", "unable",
    "submit", "submit_recipients", "submit_body", "submitted", "ask_token", "token_result",
    "open_large", "large_opened", "abandon_large", "intake", "ask_recipient", "recipient_known", "ask_name", "name_known", "start_queue", "queue_started", "turn_session", "session_turned", "sign", "signed", "ticket_keys",
    "login", "login_response", "user_login", "login_answer", "end_login", "ticket", "ticket_taken", "drop_ticket", "end_account",
    "held_leases", "grant", "hop_found", "go_ahead", "cancel_grant",
    "grant_ended", "ask_work", "lease", "lease_body", "no_work", "outcome", "outcome_saved", "break_off",
    "probe", "probed", "collect", "end_collect", "turned_round", "collected", "serve_turned",
    "file_mail", "file_body", "mail_filed", "ask_policy", "policy_said",
    "ask_status", "status", "list_queues", "queue_rows", "list_messages", "message_rows", "show",
    "shown", "ask_body", "body_part", "list_blocks", "block_rows", "list_history",
    "history_rows", "freeze", "unfreeze", "switch_outbound", "switch_intake", "await_quiet", "quiet", "hold", "lock_account", "retry", "reload", "stop_server",
    "explain", "explained", "explain_queue", "queue_explained",
    "check_spool", "spool_findings", "export_spool", "export_part", "remove_exported", "import_spool",
    "spool_done", "done"};
static_assert(!kTypeNames.back().empty());

template <std::size_t... I>
constexpr bool in_order(std::index_sequence<I...>) {
  return ((static_cast<std::size_t>(std::tuple_element_t<I, AllMessages>::kType) == I) && ...);
}
static_assert(std::tuple_size_v<AllMessages> == kTypeCount);
static_assert(in_order(std::make_index_sequence<kTypeCount>{}));

template <class M>
void append_shape(std::string& out) {
  out += name(M::kType);
  out += std::to_string(M::kRoute.from) + '>' + std::to_string(M::kRoute.to);
  Codec<M>::shape(out);
}

}  // namespace

std::string_view name(Type type) { return kTypeNames[static_cast<std::size_t>(type)]; }

std::string_view name(FailureClass c) {
  static constexpr std::string_view kNames[] = {"dns",    "connect", "greeting", "tls",
                                                "policy", "mailbox", "data",     "local",
                                                "login"};
  return kNames[static_cast<std::size_t>(c)];
}

std::string_view name(State s) {
  static constexpr std::string_view kNames[] = {"ready", "retry",      "frozen",
                                                "off",   "delivering", "held",  "uncalled"};
  return kNames[static_cast<std::size_t>(s)];
}

std::string_view name(HistoryEnd end) {
  static constexpr std::string_view kNames[] = {"delivered", "bounced", "failed", "discarded",
                                                "removed", "badmail"};
  return kNames[static_cast<std::size_t>(end)];
}

std::string_view name(Blocker blocker) {
  static constexpr std::string_view kNames[] = {
      "delivering", "concluding", "damaged",      "held",   "frozen", "hop frozen",
      "off",        "retry",      "hop dead",     "loading", "starting", "no deliverer",
      "lookup",     "uncalled",   "rate",         "connections", "slots", "connecting", "turn"};
  return kNames[static_cast<std::size_t>(blocker)];
}

std::uint64_t shapes_hash() {
  static const std::uint64_t hash = [] {
    std::string all = POSTERN_VERSION;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (append_shape<std::tuple_element_t<I, AllMessages>>(all), ...);
    }(std::make_index_sequence<kTypeCount>{});
    std::uint64_t h = 14695981039346656037ULL;  // FNV-1a; no secret depends on it
    for (const char c : all) h = (h ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
    return h;
  }();
  return hash;
}

ReplyText to_ipc(const mail::Reply& reply) {
  std::string text;
  for (const auto& line : reply.lines) {
    if (!text.empty()) text += ' ';
    text += line;
  }
  text = base::printable(text, mail::Reply::kMaxText);
  text.resize(std::min(text.size(), mail::Reply::kMaxText));
  return {reply.code, reply.enhanced.status, reply.enhanced.subject, reply.enhanced.detail,
          std::move(text)};
}

std::string text_of(const TlsNote& note) {
  std::string text;
  for (const auto* part : {&note.tls, &note.verified, &note.policy})
    if (!part->empty()) text += (text.empty() ? "" : "; ") + *part;
  text.resize(std::min(text.size(), kMaxTls));
  return text;
}

mail::Reply from_ipc(const ReplyText& reply) {
  // What to_ipc() made is clean already, and cleaning twice would double its backslashes; what another
  // process made up is cleaned here.
  const bool clean = std::all_of(reply.text.begin(), reply.text.end(),
                                 [](char c) { return c >= ' ' && c <= '~'; });
  return {reply.code,
          {reply.status, reply.subject, reply.detail},
          {clean ? reply.text : base::printable(reply.text)}};
}

}  // namespace postern::ipc
