// The part of Ledger that compares a recovered state with what was promised.
#include <fmt/format.h>

#include <algorithm>

#include "common/mail/unstuffer.h"
#include "tests/crash/ledger.h"

namespace postern::crash {
namespace {

std::string shown(const Letter& letter) {
  return fmt::format("{} for {}", letter.id.value != 0 ? base::to_string(letter.id) : "a message",
                     letter.recipients.front());
}

}  // namespace

bool Ledger::applies(const Outcome& outcome, Position at) const {
  return outcome.given <= at && outcome.lost > at;
}

bool Ledger::must_apply(const Outcome& outcome, Position at, Loss loss) const {
  if (!applies(outcome, at)) return false;
  return outcome.flushed <= at || (loss == Loss::kProcess && outcome.written <= at);
}

Ledger::Bounds Ledger::bounds(const Letter& letter, std::uint32_t recipient, Position at,
                              Loss loss) const {
  Bounds bounds;
  for (const auto number : letter.outcomes[recipient]) {
    const auto& outcome = outcomes_[number];
    const bool ends = outcome.end != End::kOpen;
    if (applies(outcome, at)) {
      ++bounds.may;
      bounds.may_end |= ends;
    }
    if (must_apply(outcome, at, loss)) {
      ++bounds.must;
      bounds.must_end |= ends;
    }
  }
  return bounds;
}

// By letter; null: it is not there.
std::vector<const SeenMessage*> Ledger::sort_out(const View& view, Position at,
                                                 Complaints& out) const {
  std::vector<const SeenMessage*> there(letters_.size());
  for (const auto& seen : view.messages) {
    const auto number = find(seen);
    if (!number || letters_[*number].given > at) {
      out.push_back(
          fmt::format("I2: {} was never accepted, but is there", base::to_string(seen.id)));
      continue;
    }
    if (there[*number] != nullptr)
      out.push_back(fmt::format("I4: {} is there twice", shown(letters_[*number])));
    there[*number] = &seen;
  }
  return there;
}

// A notice begins with the outcome that it tells of.
bool Ledger::has_begun(const Letter& letter, const std::vector<const SeenMessage*>& there,
                       Position at) const {
  return std::any_of(letter.causes.begin(), letter.causes.end(), [&](std::uint32_t number) {
    const auto& cause = outcomes_[number];
    if (!applies(cause, at)) return false;
    const SeenMessage* original = there[cause.message];
    return original == nullptr || !original->open.contains(cause.recipient);
  });
}

Ledger::Complaints Ledger::check(const View& view, Position at, Loss loss) const {
  Complaints out;
  if (!is_damaged(at))
    for (const auto& damage : view.damage) out.push_back("a false alarm: " + damage);
  const auto there = sort_out(view, at, out);
  for (std::uint32_t number = 0; number < letters_.size(); ++number)
    if (letters_[number].given <= at) {
      check_letter(number, there[number], at, loss, there, out);
      check_replaced(letters_[number], there, at, out);
    }
  for (const auto& [queue, wait] : waits_) {
    const auto seen = view.waits.find(queue);
    const auto text = seen == view.waits.end() ? "" : std::to_string(seen->second);
    if (!wait.allows(text, at))
      out.push_back(fmt::format("the wait of {} is \"{}\", which it is not", queue, text));
  }
  if (!blocks_.allows(view.blocks.value_or(""), at))
    out.push_back(fmt::format("I5: the blocks are neither as reported nor as last asked: {:.200}",
                              view.blocks.value_or("(none)")));
  return out;
}

void Ledger::check_letter(std::uint32_t number, const SeenMessage* seen, Position at, Loss loss,
                          const std::vector<const SeenMessage*>& there, Complaints& out) const {
  const auto& letter = letters_[number];
  const bool notice = !letter.causes.empty();
  if (seen != nullptr) {
    if (letter.refused != kNever)
      out.push_back(fmt::format("I2: {} was refused, but is there", shown(letter)));
    if (letter.lost <= at)
      out.push_back(fmt::format("I2: {} was gone, but is there again", shown(letter)));
    if (notice && !has_begun(letter, there, at))
      out.push_back(fmt::format("I4: {} tells of a failure that is not there", shown(letter)));
    check_contents(letter, *seen, at, out);
  } else if (notice ? !has_begun(letter, there, at) : letter.told > at) {
    // Nobody was told of it. What began and ended unseen would be an outcome without its message.
    return;
  }
  for (std::uint32_t recipient = 0; recipient < letter.recipients.size(); ++recipient)
    check_recipient(letter, recipient, seen, at, loss, out);
}

// The notice that another one has taken in ended with the record that the other began with.
void Ledger::check_replaced(const Letter& letter, const std::vector<const SeenMessage*>& there,
                            Position at, Complaints& out) const {
  const bool begun = has_begun(letter, there, at);
  for (const auto number : letter.replaces) {
    const auto& earlier = letters_[outcomes_[number].message];
    const SeenMessage* seen = there[outcomes_[number].message];
    if (begun && seen != nullptr)
      out.push_back(fmt::format("I4: {} is told beside {}, which is in its place", shown(earlier), shown(letter)));
    const bool ended_otherwise = std::ranges::any_of(earlier.outcomes.front(), [&](std::uint32_t other) {
      return other != number && outcomes_[other].end != End::kOpen && applies(outcomes_[other], at);
    });
    if (!begun && seen == nullptr && !ended_otherwise && has_begun(earlier, there, at))
      out.push_back(fmt::format("I4: {} is gone, and nothing is in its place", shown(earlier)));
  }
}

void Ledger::check_recipient(const Letter& letter, std::uint32_t recipient, const SeenMessage* seen,
                             Position at, Loss loss, Complaints& out) const {
  const auto bounds = this->bounds(letter, recipient, at, loss);
  const auto open = seen == nullptr ? std::map<std::uint32_t, SeenRecipient>::const_iterator()
                                    : seen->open.find(recipient);
  if (seen == nullptr || open == seen->open.end()) {
    if (!bounds.may_end)
      out.push_back(fmt::format("I1: {}: recipient {} is gone, and nothing ended it", shown(letter),
                                letter.recipients[recipient]));
    return;
  }
  if (bounds.must_end)
    out.push_back(fmt::format("I3: {}: recipient {} had ended, and is open again", shown(letter),
                              letter.recipients[recipient]));
  if (open->second.tries < bounds.must || open->second.tries > bounds.may)
    out.push_back(fmt::format("I3: {}: recipient {} was tried {} times, not {} to {}",
                              shown(letter), letter.recipients[recipient], open->second.tries,
                              bounds.must, bounds.may));
  if (open->second.address != letter.recipients[recipient])
    out.push_back(fmt::format("I6: {}: recipient {} became {}", shown(letter),
                              letter.recipients[recipient], open->second.address));
}

void Ledger::check_contents(const Letter& letter, const SeenMessage& seen, Position at,
                            Complaints& out) const {
  constexpr std::string_view kByDeaths = "crashed the deliverer";
  if (!seen.readable)
    out.push_back(fmt::format("I1: the body of {} cannot be read", shown(letter)));
  else if (letter.body && seen.body != *letter.body)
    out.push_back(fmt::format("I6: the body of {} is another", shown(letter)));
  if (seen.from != letter.from)
    out.push_back(fmt::format("I6: {} comes from {}", shown(letter), seen.from));
  if (seen.held != kByDeaths && !letter.held.allows(seen.held, at))
    out.push_back(fmt::format("I5: {} is held by \"{}\"", shown(letter), seen.held));
}

Ledger::Complaints Ledger::check_tokens(const View& view, const Ask& ask, Position at) const {
  Complaints out;
  std::unordered_map<base::Token, base::MessageId> there;
  for (const auto& seen : view.messages)
    if (!seen.notice) there[seen.token] = seen.id;
  for (const auto& [token, number] : by_token_) {
    const auto& letter = letters_[number];
    const auto answer = ask(token);
    const auto present = there.find(token);
    if (answer && (letter.given > at || letter.refused != kNever))
      out.push_back(
          fmt::format("I2: the token of {} is known, which was not accepted", shown(letter)));
    if (present != there.end() && letter.told > at &&
        answer != present->second)  // else nobody asks
      out.push_back(fmt::format("I2: {} is there, but its token is not known", shown(letter)));
    if (answer && letter.id.value != 0 && *answer != letter.id)
      out.push_back(fmt::format("I2: the token of {} names another message", shown(letter)));
  }
  return out;
}

Ledger::Complaints Ledger::check_imports(const Known& known, Position at) const {
  Complaints out;
  for (const auto& [file, imported] : imports_) {
    const auto text = known(file) ? "imported" : "";
    if (!imported.allows(text, at))
      out.push_back(fmt::format("an import is \"{}\", which it is not", text));
  }
  return out;
}

// The copy was on disk before the outcome was.
Ledger::Complaints Ledger::check_badmail(const Image& image, Position at, Loss loss) const {
  Complaints out;
  if (!badmail_) return out;
  for (const auto& outcome : outcomes_) {
    const auto& letter = letters_[outcome.message];
    if (letter.from.empty() && outcome.end == End::kFailed && must_apply(outcome, at, loss))
      check_badmail(letter, outcome.recipient, image, out);
  }
  return out;
}

void Ledger::check_badmail(const Letter& letter, std::uint32_t recipient, const Image& image,
                           Complaints& out) const {
  const auto contents = [&](std::string_view kind) {
    const auto file = image.find(fmt::format("spool/badmail/{}{}", base::to_string(letter.id), kind));
    return file == image.end() || !file->second.bytes ? std::string() : *file->second.bytes;
  };
  const auto& address = letter.recipients[recipient];
  if (contents(".reason").find(fmt::format("\nTo: <{}>\n", address)) == std::string::npos)
    out.push_back(fmt::format("I1: {}: {} failed, and badmail does not say so", shown(letter), address));
  std::string plain;
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  unstuffer.feed(*letter.body, plain);
  unstuffer.finish(plain);
  if (const auto kept = contents(".eml"); kept.empty() || !kept.ends_with(plain))
    out.push_back(fmt::format("I1: {} failed, and badmail does not hold it", shown(letter)));
}

Ledger::Complaints Ledger::check_mail(const Image& image, Position at) const {
  Complaints out;
  std::map<std::string, std::vector<const Entry*>> found;  // by ID-NUMBER
  for (const auto& [path, entry] : image) {
    if (!path.starts_with("mail/") || !entry.bytes) continue;
    const auto leaf = path.substr(path.rfind('/') + 1);
    if (path.find("/new/") != std::string::npos) {
      const auto id = leaf.find('X');  // TIME.MnPnQnXIDRnumber.HOST
      const auto end = leaf.find('.', id);
      auto name = leaf.substr(id + 1, end - id - 1);
      name[base::kMessageIdLength] = '-';
      found[name].push_back(&entry);
    } else if (leaf.ends_with(".eml")) {
      found[leaf.substr(0, leaf.size() - 4)].push_back(&entry);
    }
  }
  std::map<std::string, std::vector<const Copy*>> made;
  for (const auto& copy : copies_)
    if (copy.begun <= at)
      made[fmt::format("{}-{}", base::to_string(copy.id), copy.recipient)].push_back(&copy);
  for (const auto& [name, files] : found) {
    const auto copies = made.find(name);
    if (copies == made.end()) {
      out.push_back(fmt::format("I4: a mailbox holds {}, which nobody delivered", name));
      continue;
    }
    if (files.size() > copies->second.size())
      out.push_back(fmt::format("I4: a mailbox holds {} more often than it was delivered", name));
    for (const Entry* file : files)
      if (*file->bytes != copies->second.front()->text)
        out.push_back(fmt::format("I6: a mailbox holds {} with other contents", name));
  }
  for (const auto& [name, copies] : made) {
    if (std::none_of(copies.begin(), copies.end(),
                     [&](const Copy* c) { return c->reported <= at; }))
      continue;
    const auto files = found.find(name);
    if (files == found.end())
      out.push_back(fmt::format("I4: {} was delivered into a mailbox and is not there", name));
    else if (files->second.front()->modified != copies.front()->modified)
      out.push_back(fmt::format("{} has lost the time of its arrival", name));
  }
  return out;
}

}  // namespace postern::crash
