#include "ctl/verbs.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>
#include <functional>
#include <limits>

#include "common/base/clock.h"
#include "common/base/utf8.h"
#include "common/mail/unstuffer.h"
#include "ctl/explain_verb.h"
#include "ctl/json.h"
#include "ctl/screens.h"
#include "ctl/spool_verbs.h"
#include "ctl/until.h"

namespace postern::ctl {
namespace {

using Exit = std::expected<int, Ending>;

Ending no_such_message(base::MessageId id) {
  return {EX_DATAERR,
          fmt::format("posternctl: there is no message {} in the queue\n", base::to_string(id))};
}

Exit status(const Command& command, Client& client, Output& output) {
  const auto answer = client.ask<ipc::Status>(ipc::AskStatus{});
  if (!answer) return std::unexpected(answer.error());
  output.write(command.json ? to_json(*answer) : status_screen(*answer));
  return answer->attention.empty() ? 0 : 1;
}

// A listing page by page: the server gathers the next one while this one is printed, and neither side
// ever holds more. `advance` puts the cursor behind a page.
template <class Rows, class Question, class Advance>
Exit list(Question question, Table table, std::string_view none, const Command& command,
          Client& client, Output& output, Advance advance) {
  bool any = false;
  client.put(question);
  for (bool more = true; more;) {
    const auto page = client.take<Rows>();
    if (!page) return std::unexpected(page.error());
    if constexpr (requires { page->error; })
      if (!page->error.empty())
        return std::unexpected(Ending{EX_IOERR, "posternctl: " + plain(page->error)});
    more = page->more;
    if (more) {
      advance(question, *page);
      client.put(question);
    }
    const auto moment = now();
    std::string lines;
    for (const auto& row : page->rows) {
      if (command.json)
        lines += to_json(row);
      else
        add_row(table, row, moment);
    }
    output.write(command.json ? lines : table.take());
    output.flush();
    if (output.failed()) return 0;  // told at the end
    any = any || !page->rows.empty();
  }
  if (!any && !command.json) output.write(none);
  return 0;
}

Exit queues(const Command& command, Client& client, Output& output) {
  ipc::ListQueues question;
  question.pattern = command.queue;
  question.hops = command.hops;
  return list<ipc::QueueRows>(
      question, command.hops ? hop_table(output.width) : queue_table(output.width),
      command.hops            ? "no such next hop is in use\n"
      : command.queue.empty() ? "no queue holds mail\n"
                              : "no such queue holds mail\n",
      command,
      client, output, [](auto& q, const auto& page) {
        if (!page.rows.empty()) q.after = page.rows.back().queue;
      });
}

// What is tried next comes first, and last what does not move by itself.
std::int64_t next_of(const ipc::MessageRow& row) {
  switch (row.state) {
    case ipc::State::kReady:
    case ipc::State::kDelivering:
      return 0;
    case ipc::State::kRetry:
      return row.next_try.ms;
    case ipc::State::kFrozen:
      return row.until.ms != 0 ? row.until.ms : std::numeric_limits<std::int64_t>::max();
    case ipc::State::kOff:
    case ipc::State::kHeld:
    case ipc::State::kUncalled:
      return std::numeric_limits<std::int64_t>::max();
  }
  CHECK(false);
}

void put_in_order(std::vector<ipc::MessageRow>& rows, Order order) {
  switch (order) {
    case Order::kId:
      break;
    case Order::kAge:
      std::ranges::sort(rows, {}, [](const auto& row) { return std::pair(row.arrived.ms, row.id); });
      break;
    case Order::kSize:
      std::ranges::sort(rows, [](const auto& a, const auto& b) { return std::tie(b.size, a.id) < std::tie(a.size, b.id); });
      break;
    case Order::kNext:
      std::ranges::sort(rows, {}, [&](const auto& row) { return std::pair(next_of(row), row.id); });
      break;
  }
}

// In another order than they come in, so all are here before the first one is printed.
Exit sorted_messages(const Command& command, Client& client, Output& output) {
  ipc::ListMessages question;
  question.selector = command.selector;
  std::vector<ipc::MessageRow> rows;
  for (bool more = true; more;) {
    const auto page = client.ask<ipc::MessageRows>(question);
    if (!page) return std::unexpected(page.error());
    rows.insert(rows.end(), page->rows.begin(), page->rows.end());
    more = page->more;
    question.after = page->next_after;
  }
  put_in_order(rows, command.order);
  auto table = message_table(output.width);
  for (const auto& row : rows) {
    if (command.json)
      output.write(to_json(row));
    else
      add_row(table, row, now());
  }
  if (!command.json) output.write(rows.empty() ? "no such message is queued\n" : table.take());
  return 0;
}

// In the order of their ids.
Exit list_messages(ipc::Selector selector, std::string_view none, const Command& command, Client& client,
                   Output& output) {
  ipc::ListMessages question;
  question.selector = std::move(selector);
  return list<ipc::MessageRows>(question, message_table(output.width), none, command, client, output,
                                [](auto& q, const auto& page) { q.after = page.next_after; });
}

Exit messages(const Command& command, Client& client, Output& output) {
  if (command.order != Order::kId) return sorted_messages(command, client, output);
  return list_messages(command.selector, "no such message is queued\n", command, client, output);
}

Exit blocks(const Command& command, Client& client, Output& output) {
  return list<ipc::BlockRows>(
      ipc::ListBlocks{}, block_table(output.width), "nothing is blocked\n", command, client, output,
      [](auto& q, const auto& page) { q.after += static_cast<std::uint32_t>(page.rows.size()); });
}

Exit history(const Command& command, Client& client, Output& output) {
  ipc::ListHistory question;
  question.selector = command.selector;
  return list<ipc::HistoryRows>(question, history_table(output.width),
                                "nothing of it is in the history\n", command, client, output,
                                [](auto& q, const auto& page) { q.after = page.next_after; });
}

Exit show(const Command& command, Client& client, Output& output) {
  ipc::Show question;
  question.id = command.id;
  std::optional<ipc::Shown> whole;
  for (bool more = true; more;) {
    auto page = client.ask<ipc::Shown>(question);
    if (!page) return std::unexpected(std::move(page.error()));
    if (!page->found) break;  // also: it left the queue between two pages
    more = page->more && !page->recipients.empty();
    question.after += static_cast<std::uint32_t>(page->recipients.size());
    if (!whole)
      whole = *std::move(page);
    else
      std::move(page->recipients.begin(), page->recipients.end(),
                std::back_inserter(whole->recipients));
  }
  if (!whole) return std::unexpected(no_such_message(command.id));
  output.write(command.json ? to_json(command.id, *whole)
                            : message_page(command.id, *whole, now()));
  return 0;
}

Exit body(const Command& command, Client& client, Output& output) {
  ipc::AskBody question;
  question.id = command.id;
  // A terminal gets lines with everything escaped that could steer it; a file gets the bytes.
  mail::Unstuffer unstuffer(output.terminal ? mail::LineEnd::kLf : mail::LineEnd::kCrLf);
  const auto print = [&](const std::string& text) {
    output.write(output.terminal ? terminal_text(text) : text);
  };
  for (std::uint64_t total = 1; question.offset < total;) {
    const auto page = client.ask<ipc::BodyPart>(question);
    if (!page) return std::unexpected(page.error());
    if (!page->found) return std::unexpected(no_such_message(command.id));
    total = page->total;
    const auto bytes = page->bytes.bytes;
    if (bytes.empty()) break;
    const auto before =
        page->prefix_size > question.offset ? page->prefix_size - question.offset : 0;
    const auto prefix = bytes.substr(0, std::min<std::uint64_t>(before, bytes.size()));
    std::string text(prefix);
    if (output.terminal) std::erase(text, '\r');  // our own headers, in lines ended by CR LF
    unstuffer.feed(bytes.substr(prefix.size()), text);
    print(text);
    output.flush();
    if (output.failed()) return 0;
    question.offset += bytes.size();
  }
  std::string rest;
  unstuffer.finish(rest);
  print(rest);
  return 0;
}

Exit say(const ipc::Done& done, const Command& command, Output& output) {
  if (command.json) {
    output.write(to_json(done));
  } else if (done.exit == 0) {
    output.write(plain(done.text));
  } else {
    return std::unexpected(Ending{done.exit, "posternctl: " + plain(done.text)});
  }
  return done.exit;
}

template <class Question>
Exit tell(const Question& question, const Command& command, Client& client, Output& output) {
  const auto done = client.ask<ipc::Done>(question);
  if (!done) return std::unexpected(done.error());
  return say(*done, command, output);
}

// A dry run: what the verb would act on, as `messages` lists it, and behind that how much it is. Whoever may not do it
// is told so before anything is listed.
template <class Question>
Exit preview(const Question& question, const Command& command, Client& client, Output& output) {
  const auto done = client.ask<ipc::Done>(question);
  if (!done) return std::unexpected(done.error());
  if (done->exit == 0) {
    auto selector = command.selector;
    if (command.verb == Verb::kRelease && !selector.state) selector.state = ipc::State::kHeld;
    if (auto listed = list_messages(std::move(selector), {}, command, client, output); !listed || output.failed())
      return listed;
  }
  return say(*done, command, output);
}

// What is stopped is in force with the first line; the next ones tell when the last of it is over.
// Whoever does not want to wait for that may go: nothing is taken back.
template <class Question>
Exit stop(const Question& question, const Command& command, Client& client, Output& output,
          base::WallTime until = {}) {
  const auto done = client.ask<ipc::Done>(question);
  if (!done) return std::unexpected(done.error());
  if (done->exit != 0 && !command.json)
    return std::unexpected(Ending{done->exit, "posternctl: " + plain(done->text)});
  const bool stops = done->in_flight.has_value();  // a release does not
  if (command.json)
    output.write(to_json(*done));
  else
    output.write(stops ? stopped_line(*done, until, now()) : plain(done->text));
  auto in_flight = done->in_flight.value_or(0);
  if (in_flight > 0 && output.terminal && !command.json)
    output.write("waiting until nothing is in flight; Ctrl-C leaves it in force\n");
  while (in_flight > 0) {
    output.flush();
    if (output.failed()) return 0;  // told at the end
    const auto quiet = client.ask<ipc::Quiet>(ipc::AwaitQuiet{});
    if (!quiet) return std::unexpected(quiet.error());
    in_flight = quiet->in_flight;
    output.write(command.json ? to_json(*quiet) : quiet_lines(*quiet));
  }
  return done->exit;
}

Exit freeze(const Command& command, Client& client, Output& output) {
  ipc::Freeze question;
  question.queue = command.queue;
  question.hop = command.hop;
  question.reason = command.reason;
  question.keep_clock = command.keep_clock;
  question.future = command.future;
  if (!command.until.empty()) {
    const auto until = parse_until(command.until, now());
    if (!until)
      return std::unexpected(Ending{EX_USAGE, "posternctl: --until " + until.error() + "\n"});
    question.until = *until;
  }
  return stop(question, command, client, output, question.until);
}

}  // namespace

void Output::write(std::string_view bytes) {
  std::string escaped;
  if (ascii && !base::is_ascii(bytes)) bytes = escaped = ascii_text(bytes);
  failed_ = failed_ || std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size();
}

void Output::flush() {
  failed_ = std::fflush(stdout) != 0 || failed_;
}

std::expected<int, Ending> perform(const Command& command, Client& client, Output& output) {
  switch (command.verb) {
    case Verb::kStatus:
      return status(command, client, output);
    case Verb::kQueues:
      return queues(command, client, output);
    case Verb::kMessages:
      return messages(command, client, output);
    case Verb::kShow:
      return show(command, client, output);
    case Verb::kExplain:
      return explain(command, client, output);
    case Verb::kBody:
      return body(command, client, output);
    case Verb::kBlocks:
      return blocks(command, client, output);
    case Verb::kHistory:
      return history(command, client, output);
    case Verb::kFreeze:
      return freeze(command, client, output);
    case Verb::kUnfreeze: {
      ipc::Unfreeze unfreeze;
      unfreeze.queue = command.queue;
      unfreeze.hop = command.hop;
      return tell(unfreeze, command, client, output);
    }
    case Verb::kOutbound: {
      ipc::SwitchOutbound outbound;
      outbound.enable = command.enable;
      outbound.all = command.all;
      outbound.now = command.now;
      outbound.reason = command.reason;
      return stop(outbound, command, client, output);
    }
    case Verb::kIntake: {
      ipc::SwitchIntake intake;
      intake.enable = command.enable;
      intake.reason = command.reason;
      return tell(intake, command, client, output);
    }
    case Verb::kHold:
    case Verb::kRelease: {
      ipc::Hold hold;
      hold.selector = command.selector;
      hold.release = command.verb == Verb::kRelease;
      hold.also_new = command.also_new;
      hold.dry_run = command.dry_run;
      hold.reason = command.reason;
      return hold.dry_run ? preview(hold, command, client, output) : stop(hold, command, client, output);
    }
    case Verb::kUser: {  // what works on the file has been done before
      ipc::LockAccount lock;
      lock.account = command.account;
      lock.unlock = command.user == UserAction::kUnlock;
      lock.reason = command.reason;
      return tell(lock, command, client, output);
    }
    case Verb::kRetry: {
      ipc::Retry retry;
      retry.selector = command.selector;
      retry.dry_run = command.dry_run;
      retry.reason = command.reason;
      return retry.dry_run ? preview(retry, command, client, output) : tell(retry, command, client, output);
    }
    case Verb::kCheckSpool:
      return check_spool(command, client, output);
    case Verb::kExport:
      return export_spool(command, client, output);
    case Verb::kImport:
      return import_spool(command, client, output);
    case Verb::kReload:
      return tell(ipc::Reload{}, command, client, output);
    case Verb::kStop:
      return tell(ipc::StopServer{}, command, client, output);
  }
  CHECK(false);
}

}  // namespace postern::ctl
