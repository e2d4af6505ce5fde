#include "bench/load/run.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "common/base/clock.h"

namespace postern::bench {
namespace {

constexpr base::Millis kPace{1};
constexpr base::Millis kWatch{200};

}  // namespace

Run::Run(event::Loop& loop, const LoadOptions& options, LedgerWriter ledger)
    : loop_(loop),
      options_(options),
      ledger_(std::move(ledger)),
      plan_(options.messages, static_cast<std::uint64_t>(options.duration.count()) * 1000,
            options.rate),
      eight_bit_(options.seed, true),
      seven_bit_(options.seed, false),
      pace_(loop, [this]() noexcept { pace(); }),
      watch_(loop, [this]() noexcept { watch(); }),
      progress_(loop, [this]() noexcept { show(); }),
      began_(std::chrono::steady_clock::now()) {
  for (std::uint64_t i = 0; i < options.sessions; ++i)
    sessions_.push_back(std::make_unique<Session>(loop, options, *this));
}

void Run::start() noexcept {
  append_load_run(ledger_.lines(), options_.run, options_.sender.text(), options_.recipient.text());
  if (!settle()) return;
  if (plan_.paced()) pace_.start(kPace);
  watch_.start(kWatch);
  if (options_.progress.count() > 0) progress_.start(options_.progress);
  for (const auto& session : sessions_) session->connect();
}

void Run::end() noexcept {
  if (std::exchange(told_to_end_, true)) return loop_.stop();
  plan_.stop();
  for (const auto& session : sessions_) session->look();
}

void Run::pace() noexcept {
  for (const auto& session : sessions_) session->look();
  pace_.start(kPace);
}

void Run::watch() noexcept {
  for (const auto& session : sessions_) {
    session->check_time();
    if (session->stands()) last_standing_ = micros();
  }
  const auto patience = static_cast<std::uint64_t>(options_.patience.count()) * 1000;
  if (patience != 0 && micros() - last_standing_ > patience && !plan_.finished(micros())) {
    fail(fmt::format("no greeting for {} s: {}", patience / 1'000'000, last_failure_));
    for (const auto& session : sessions_) session->look();
  }
  watch_.start(kWatch);
}

// The sessions still end what they have begun.
void Run::fail(std::string trouble) noexcept {
  if (trouble_.empty()) trouble_ = std::move(trouble);
  plan_.stop();
}

std::optional<std::uint64_t> Run::take() noexcept {
  return plan_.take(micros());
}

bool Run::finished() const noexcept {
  return plan_.finished(micros());
}

void Run::begun(std::uint64_t number) noexcept {
  ++counts_.begun;
  append_begun(ledger_.lines(), number, base::system_clock().wall(), options_.recipients);
}

bool Run::settle() noexcept {
  if (ledger_.lines().empty()) return true;
  const auto written = ledger_.flush();
  if (!written) fail(written.error().text());
  return written.has_value();
}

void Run::ended(std::uint64_t number, const Outcome& outcome,
                std::optional<std::uint64_t> micros_taken) noexcept {
  switch (outcome.fate) {
    case Fate::kAcknowledged:
      ++counts_.acknowledged;
      break;
    case Fate::kRefused:
      ++counts_.refused;
      break;
    case Fate::kUnknown:
      ++counts_.unknown;
      break;
    case Fate::kUnsent:
      ++counts_.unsent;
      break;
  }
  const auto now = base::system_clock().wall();
  for (const auto& refused : outcome.refused)
    append_refused_recipient(ledger_.lines(), number, now, refused.index, refused.reply);
  append_ended(ledger_.lines(), outcome.fate, number, now, outcome.text);
  counts_.refused_recipients += outcome.refused.size();
  if (micros_taken) latencies_.add(*micros_taken);
  last_end_ = micros();
}

void Run::connected() noexcept {
  ++counts_.connections;
}

void Run::disconnected(std::string_view why) noexcept {
  ++counts_.failures;
  last_failure_ = why;
}

void Run::done() noexcept {
  if (++done_ < sessions_.size()) return;
  settle();
  loop_.stop();
}

std::uint64_t Run::micros() const noexcept {
  const auto since = std::chrono::steady_clock::now() - began_;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

const Text& Run::text(bool eight_bit) const noexcept {
  return eight_bit ? eight_bit_ : seven_bit_;
}

void Run::show() noexcept {
  settle();  // so that the ledger is not behind what is shown
  if (shown_ != counts_) {
    shown_ = counts_;
    std::printf("%s\n",
                fmt::format("begun={} acknowledged={} refused={} unknown={} unsent={} failures={}",
                            counts_.begun, counts_.acknowledged, counts_.refused, counts_.unknown,
                            counts_.unsent, counts_.failures)
                    .c_str());
    std::fflush(stdout);
  }
  progress_.start(options_.progress);
}

std::string Run::summary() const {
  return options_.json ? json() : human();
}

std::string Run::human() const {
  const double seconds = static_cast<double>(last_end_) / 1e6;
  return fmt::format(
      "run {}: {} messages in {:.2f} s, {:.0f} acknowledged a second; acknowledged {}, refused {}, "
      "unknown {}, unsent {}, never begun {}; reply after the dot: p50 {:.2f} ms, p99 {:.2f} ms; "
      "{} connections, {} failures\n",
      options_.run, counts_.begun, seconds,
      seconds > 0 ? static_cast<double>(counts_.acknowledged) / seconds : 0, counts_.acknowledged,
      counts_.refused, counts_.unknown, counts_.unsent, plan_.never_begun(),
      static_cast<double>(latencies_.quantile(0.5)) / 1e3,
      static_cast<double>(latencies_.quantile(0.99)) / 1e3, counts_.connections, counts_.failures);
}

std::string Run::json() const {
  const double seconds = static_cast<double>(last_end_) / 1e6;
  return fmt::format(
      "{{\"v\":1,\"run\":\"{}\",\"messages\":{},\"acknowledged\":{},\"refused\":{},\"unknown\":{},"
      "\"unsent\":{},\"never_begun\":{},\"refused_recipients\":{},\"seconds\":{:.6f},\"rate\":{:."
      "1f},"
      "\"p50_ms\":{:.3f},\"p99_ms\":{:.3f},\"connections\":{},\"failures\":{}}}\n",
      options_.run, counts_.begun, counts_.acknowledged, counts_.refused, counts_.unknown,
      counts_.unsent, plan_.never_begun(), counts_.refused_recipients, seconds,
      seconds > 0 ? static_cast<double>(counts_.acknowledged) / seconds : 0,
      static_cast<double>(latencies_.quantile(0.5)) / 1e3,
      static_cast<double>(latencies_.quantile(0.99)) / 1e3, counts_.connections, counts_.failures);
}

}  // namespace postern::bench
