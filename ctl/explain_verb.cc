#include "ctl/explain_verb.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <iterator>
#include <utility>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "ctl/explain_screen.h"
#include "ctl/json.h"
#include "ctl/screens.h"
#include "ctl/until.h"

namespace postern::ctl {
namespace {

using Exit = std::expected<int, Ending>;

std::expected<ipc::Explained, Ending> ask_queue(base::MessageId id, Client& client) {
  ipc::Explain question;
  question.id = id;
  ipc::Explained whole;
  for (bool more = true; more;) {
    auto page = client.ask<ipc::Explained>(question);
    if (!page) return std::unexpected(std::move(page.error()));
    more = page->found && page->more && page->next_after > question.after;
    question.after = page->next_after;
    auto found = std::exchange(page->explanations, {});
    if (page->found && !whole.found) whole = *std::move(page);
    merge(whole.explanations, std::move(found));
  }
  return whole;
}

std::expected<std::vector<ipc::HistoryRow>, Ending> ask_history(base::MessageId id,
                                                                Client& client) {
  ipc::ListHistory question;
  question.selector.ids = {id};
  std::vector<ipc::HistoryRow> rows;
  for (bool more = true; more;) {
    auto page = client.ask<ipc::HistoryRows>(question);
    if (!page) return std::unexpected(std::move(page.error()));
    if (!page->error.empty())
      return std::unexpected(Ending{EX_IOERR, "posternctl: " + plain(page->error)});
    more = page->more;
    question.after = page->next_after;
    std::move(page->rows.begin(), page->rows.end(), std::back_inserter(rows));
  }
  return rows;
}

Exit explain_message(const Command& command, Client& client, Output& output) {
  MessageStory story{.id = command.id, .queued = {}, .ended = {}};
  auto queued = ask_queue(command.id, client);
  if (!queued) return std::unexpected(std::move(queued.error()));
  story.queued = *std::move(queued);
  if (!story.queued.found || story.queued.ended > 0) {
    auto ended = ask_history(command.id, client);
    if (!ended) return std::unexpected(std::move(ended.error()));
    story.ended = *std::move(ended);
  }
  if (!story.queued.found && story.ended.empty())
    return std::unexpected(
        Ending{EX_DATAERR, fmt::format("posternctl: there is no message {} in the queue, and the "
                                       "history does not know it either\n",
                                       base::to_string(command.id))});
  output.write(command.json ? to_json(story) : explain_page(story, now()));
  return 0;
}

Exit explain_queue(const Command& command, Client& client, Output& output) {
  const auto answer = client.ask<ipc::QueueExplained>(ipc::ExplainQueue{{}, command.queue});
  if (!answer) return std::unexpected(answer.error());
  if (!answer->found) {
    std::string near;
    for (const auto& name : answer->near) near += (near.empty() ? "; near it: " : ", ") + name;
    return std::unexpected(Ending{
        EX_DATAERR, fmt::format("posternctl: no mail is queued for {}, and it is no message's "
                                "id{}\n",
                                base::printable(command.queue), base::printable(near))});
  }
  output.write(command.json ? to_json(*answer) : explain_page(*answer, now()));
  return 0;
}

}  // namespace

std::expected<int, Ending> explain(const Command& command, Client& client, Output& output) {
  return command.queue.empty() ? explain_message(command, client, output)
                               : explain_queue(command, client, output);
}

}  // namespace postern::ctl
