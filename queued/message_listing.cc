// Listings of messages, and all that is known of one.
#include <algorithm>

#include "queued/listings.h"
#include "queued/message_id.h"
#include "queued/messages.h"
#include "queued/obstacles.h"
#include "queued/whole_message.h"

namespace postern::queued {
namespace {

constexpr std::size_t kSearched = 250;  // headers read for one page

ipc::MessageRow message_row(const Engine& engine, const Message& message) {
  ipc::MessageRow row;
  row.id = message.id;
  row.arrived = message.arrived;
  row.size = message.size();
  row.from = message.from;
  row.recipients = message.open;
  for (const auto& recipient : message.recipients) {
    if (!recipient.open()) continue;
    row.to = recipient.address.text();
    row.alias = recipient.alias;
    auto stands = standing(engine, message, recipient);
    row.state = stands.state;
    row.next_try = stands.next_try;
    row.until = stands.until;
    row.why = cut(stands.why.empty() ? reply_of(recipient) : stands.why, kReplyRoom);
    break;
  }
  return row;
}

// A page of messages under way.
struct MessagePage {
  explicit MessagePage(Throttle& throttle) : use(throttle) {}
  Throttle::Use use;
  ipc::ListMessages ask;
  ipc::MessageRows answer;
  std::size_t looked_at = 0;
  Reply<ipc::MessageRows> reply;
};

// Those of `ids` whose headers say so. The next page goes on behind `last`, if there is more.
void list_searched(Engine& engine, std::unique_ptr<MessagePage> page, std::vector<base::MessageId> ids,
                   base::MessageId last, bool more) {
  const auto wanted = page->ask.selector.message_id;
  search_headers(engine, std::move(ids), wanted, [&engine, page = std::move(page), last, more](
                                                     std::vector<base::MessageId> found) mutable noexcept {
    engine.store().fetch(found, [&engine, page = std::move(page), found, last, more]() noexcept {
      auto& answer = page->answer;
      for (const auto id : found) {
        const Message* message = engine.store().find(id);
        if (message == nullptr) continue;  // it ended meanwhile
        if (!answer.rows.add(message_row(engine, *message))) {
          answer.more = true;
          return page->reply(answer);
        }
        answer.next_after = id;
      }
      answer.next_after = last;
      answer.more = more;
      page->reply(answer);
    });
  });
}

void list_named(Engine& engine, std::unique_ptr<MessagePage> page) {
  auto ids = page->ask.selector.ids;
  std::sort(ids.begin(), ids.end());
  std::erase_if(ids, [&](base::MessageId id) { return id <= page->ask.after; });
  auto& answer = page->answer;
  answer.more = ids.size() > answer.rows.kMostRows;
  ids.resize(std::min(ids.size(), answer.rows.kMostRows));
  engine.store().fetch(ids, [&engine, &answer, ids, page = std::move(page)]() mutable noexcept {
    if (!page->ask.selector.message_id.empty()) {
      std::vector<base::MessageId> candidates;
      for (const auto id : ids)
        if (const Message* message = engine.store().find(id); message && selects(engine, page->ask.selector, *message))
          candidates.push_back(id);
      const auto last = ids.empty() ? answer.next_after : ids.back();
      return list_searched(engine, std::move(page), std::move(candidates), last, answer.more);
    }
    for (const auto id : ids) {
      const Message* message = engine.store().find(id);
      if (message != nullptr && selects(engine, page->ask.selector, *message) &&
          !answer.rows.add(message_row(engine, *message))) {
        answer.more = true;
        break;
      }
      answer.next_after = id;
    }
    page->reply(answer);
  });
}

void list_by_header(Engine& engine, std::unique_ptr<MessagePage> page) {
  const auto after = page->answer.next_after;
  engine.store().scan(after, kSearched, [&engine, page = std::move(page)](const Batch& batch) mutable noexcept {
    std::vector<base::MessageId> candidates;
    for (const Message* message : batch.messages)
      if (selects(engine, page->ask.selector, *message)) candidates.push_back(message->id);
    list_searched(engine, std::move(page), std::move(candidates), batch.last, batch.more);
  });
}

// The first look takes as many as the page has rows; if few of them are wanted, the next ones take more.
void list_selected(Engine& engine, std::unique_ptr<MessagePage> page) {
  const auto after = page->answer.next_after;
  const auto limit = page->looked_at == 0 ? page->answer.rows.kMostRows + 1 : kScanned;
  engine.store().scan(after, limit, [&engine, page = std::move(page)](const Batch& batch) mutable noexcept {
    auto& answer = page->answer;
    for (const Message* message : batch.messages) {
      if (selects(engine, page->ask.selector, *message) &&
          !answer.rows.add(message_row(engine, *message))) {
        answer.more = true;
        break;
      }
      ++page->looked_at;
      answer.next_after = message->id;
    }
    if (!answer.more && batch.more) {
      answer.next_after = batch.last;
      if (page->looked_at < kScanned) return list_selected(engine, std::move(page));
      answer.more = true;
    }
    page->reply(answer);
  });
}

}  // namespace

void list_messages(Engine& engine, const ipc::ListMessages& ask, Reply<ipc::MessageRows> reply) {
  auto page = std::make_unique<MessagePage>(engine.throttle());
  page->ask = ask;
  page->answer.request = ask.request;
  page->answer.next_after = ask.after;
  page->reply = std::move(reply);
  // Named ones are looked up, not searched.
  if (!ask.selector.ids.empty()) return list_named(engine, std::move(page));
  if (!ask.selector.message_id.empty()) return list_by_header(engine, std::move(page));
  list_selected(engine, std::move(page));
}

namespace {

constexpr std::size_t kRecipientRows = 20;

ipc::Shown shown(const Engine& engine, const ipc::Show& ask) {
  ipc::Shown answer;
  answer.request = ask.request;
  const Message* message = engine.store().find(ask.id);
  if (message == nullptr) return answer;
  tell_whole(*message, answer);
  for (const auto& recipient : message->recipients) {
    const auto left = recipient.open() ? engine.left(*message, recipient) : std::nullopt;
    if (!left) continue;
    const auto expires = engine.store().clock().wall() + *left;
    if (answer.expires.ms == 0 || expires < answer.expires) answer.expires = expires;
  }
  answer.requires_tls = message->tls_wish == mail::TlsWish::kRequired;
  for (std::size_t i = ask.after; i < message->recipients.size(); ++i) {
    if (answer.recipients.size() == kRecipientRows) {
      answer.more = true;
      break;
    }
    const auto& recipient = message->recipients[i];
    ipc::RecipientRow row;
    row.address = recipient.address;
    row.alias = recipient.alias;
    if (recipient.sender) row.sender = recipient.sender->text();
    row.queue = engine.router().route(recipient.address).queue;
    row.end = recipient.end;
    row.tries = recipient.tries;
    row.last_try = recipient.last_try;
    row.last_reply = reply_of(recipient);
    if (recipient.trouble) {
      row.remote = recipient.trouble->remote;
      row.tls = recipient.trouble->tls;
    }
    if (recipient.open()) {
      auto stands = standing(engine, *message, recipient);
      row.state = stands.state;
      row.why = cut(std::move(stands.why), ipc::kMaxReason);
      row.next_try = stands.next_try;
      row.until = stands.until;
    }
    answer.recipients.push_back(std::move(row));
  }
  return answer;
}

}  // namespace

void show(Engine& engine, const ipc::Show& ask, Reply<ipc::Shown> reply) {
  engine.store().fetch({ask.id}, [&engine, ask, reply = std::move(reply)]() mutable noexcept {
    reply(shown(engine, ask));
  });
}

}  // namespace postern::queued
