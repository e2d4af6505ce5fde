#include "bench/load/options.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

#include "bench/ledger/command_line.h"
#include "bench/ledger/name.h"
#include "common/base/random.h"

namespace postern::bench {
namespace {

constexpr std::string_view kFile = "file:";

// As typed, for what needs a reading of its own.
struct TypedLoad {
  std::string to, size = "4KiB", sender = "sender@client.example",
                  recipient = "recipient@remote.example";
  double seconds = 0;
  bool no_pipelining = false, seven_bit = false;
};

void describe(CLI::App& app, LoadOptions& options, TypedLoad& typed) {
  app.add_option("--to", typed.to, "the server, ADDRESS:PORT")->required()->type_name("HOST:PORT");
  app.add_option("--sessions", options.sessions, "connections at once (1)")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--messages", options.messages, "how many in all")
      ->check(CLI::Range(std::uint64_t{1}, kMaxNumber));
  app.add_option("--seconds", typed.seconds, "or for how long")->check(CLI::Range(0.001, 1e7));
  app.add_option("--rate", options.rate, "messages a second; 0: as fast as it goes (0)")
      ->check(CLI::Range(0.0, 1e7));
  app.add_option(
      "--size", typed.size,
      "of bodies: 4KiB, uniform:1KiB-64KiB, lognormal:MEDIAN,FACTOR, or file:PATH of lines "
      "WEIGHT SIZE (4KiB)");
  app.add_option("--messages-per-session", options.messages_per_session,
                 "then QUIT and connect again; 0: any number (0)");
  app.add_option("--recipients", options.recipients, "of each message (1)")
      ->check(CLI::Range(1, 1000));
  app.add_option("--sender", typed.sender,
                 "template of the sender's address ({n}: the message's number)");
  app.add_option(
      "--recipient", typed.recipient,
      "template of the recipients' addresses: {n}, {i} (the recipient's number), each with "
      "%K or /K behind it: r{n}@d{n%1000}.test");
  app.add_flag("--no-pipelining", typed.no_pipelining,
               "one command at a time, even where it is offered");
  app.add_flag("--7bit", typed.seven_bit, "no bytes above 127, even where 8BITMIME is offered");
  app.add_option("--seed", options.seed, "of sizes and bodies (1)");
  app.add_option("--run", options.run, "name of this run, letters and digits (random)");
  app.add_option("--hello", options.hello, "the name in EHLO (load.test)");
  app.add_option("--ledger", options.ledger, "file to append the fate of each message to");
  add_duration(app, "--timeout", options.timeout, "for any reply (60s)");
  add_duration(app, "--backoff", options.backoff, "longest wait between tries to connect (1s)");
  add_duration(app, "--patience", options.patience,
               "give up after that long without a greeting; 0: never (60s)");
  add_duration(app, "--progress", options.progress, "print the counts so often while they change");
  app.add_flag("--json", options.json, "the summary as one JSON object");
}

std::expected<Sizes, std::string> read_sizes(const std::string& text) {
  if (!text.starts_with(kFile)) return Sizes::parse(text);
  std::ifstream file(text.substr(kFile.size()));
  const std::string lines{std::istreambuf_iterator<char>(file), {}};
  if (!file.good() && lines.empty())
    return std::unexpected("cannot read " + text.substr(kFile.size()));
  return Sizes::parse_weights(lines);
}

// What is wrong, or empty.
std::string finish(const TypedLoad& typed, LoadOptions& options) {
  const auto to = base::parse_endpoint(typed.to);
  if (!to) return "--to: write ADDRESS:PORT, like 127.0.0.1:2525 or [::1]:2525";
  options.to = *to;
  options.duration = base::Millis(static_cast<std::int64_t>(typed.seconds * 1000));
  if (options.messages == 0 && options.duration.count() == 0)
    return "say how much: --messages or --seconds";
  auto sizes = read_sizes(typed.size);
  if (!sizes) return "--size: " + sizes.error();
  options.sizes = *std::move(sizes);
  auto sender = Template::parse(typed.sender);
  if (!sender) return "--sender: " + sender.error();
  options.sender = *std::move(sender);
  auto recipient = Template::parse(typed.recipient);
  if (!recipient) return "--recipient: " + recipient.error();
  options.recipient = *std::move(recipient);
  if (options.recipients > 1 && !options.recipient.uses_index())
    return "--recipients: {i} must stand in --recipient, so that they differ";
  if (options.run.empty()) options.run = fmt::format("{:012x}", base::random_u64() >> 16);
  if (!is_run(options.run)) return "--run: 1 to 32 letters and digits";
  options.pipelining = !typed.no_pipelining;
  options.eight_bit = !typed.seven_bit;
  return {};
}

}  // namespace

std::expected<LoadOptions, Ending> parse_load_options(std::vector<std::string> words) {
  LoadOptions options;
  options.hello = "load.test";
  options.timeout = std::chrono::seconds(60);
  options.backoff = std::chrono::seconds(1);
  options.patience = std::chrono::seconds(60);
  TypedLoad typed;
  CLI::App app("Sends mail over many SMTP sessions and writes down what became of each message.",
               "postern-load");
  describe(app, options, typed);
  if (auto ending = read(app, std::move(words))) return std::unexpected(*std::move(ending));
  if (const auto mistake = finish(typed, options); !mistake.empty()) return usage(app, mistake);
  return options;
}

}  // namespace postern::bench
