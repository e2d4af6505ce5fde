#include "bench/sink/options.h"

#include <fstream>
#include <utility>

#include "bench/ledger/command_line.h"
#include "common/base/text.h"

namespace postern::bench {
namespace {

struct TypedSink {
  std::vector<std::string> listen, without;
};

void describe(CLI::App& app, SinkOptions& options, TypedSink& typed) {
  app.add_option("--listen", typed.listen,
                 "where to take mail, ADDRESS:PORT; more than once for more")
      ->required()
      ->type_name("ADDRESS:PORT");
  app.add_flag("--lmtp", options.server.lmtp, "speak LMTP: one reply for each recipient");
  app.add_option("--ledger", options.ledger,
                 "file to append each message's name and recipients to");
  app.add_option(
         "--mood", options.mood_texts,
         "WHERE:WHAT[=VALUE][,for=PATTERN][,p=PROBABILITY]; WHERE: connect, mail, rcpt, data, dot; "
         "WHAT: accept, defer[=REPLY], refuse[=REPLY], delay=TIME, cut, drop, stall")
      ->allow_extra_args(false);
  app.add_option("--moods", options.mood_file,
                 "file with one mood in each line, read again at SIGHUP");
  app.add_option("--seed", options.seed, "of the moods' luck (1)");
  app.add_option("--limit", options.server.limit,
                 "messages for each connection, then 421; 0: none (0)");
  app.add_option("--without", typed.without, "what not to offer: PIPELINING, 8BITMIME, SIZE")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"PIPELINING", "8BITMIME", "SIZE"}));
  auto* const chain = app.add_option(
      "--chain", options.chain, "offer STARTTLS with this certificate, a file in PEM");
  auto* const key = app.add_option("--key", options.key, "its key, likewise");
  chain->needs(key);
  key->needs(chain);
  add_duration(app, "--progress", options.progress, "print the counts so often while they change");
  app.add_flag("--json", options.json, "the summary as one JSON object");
}

// What is wrong, or empty.
std::string finish(const TypedSink& typed, SinkOptions& options) {
  for (const auto& text : typed.listen) {
    const auto endpoint = base::parse_endpoint(text);
    if (!endpoint) return "--listen: write ADDRESS:PORT, like 127.0.0.1:2525 or [::1]:2525";
    options.listen.push_back(*endpoint);
  }
  for (const auto& word : typed.without) {
    if (word == "PIPELINING") options.server.pipelining = false;
    if (word == "8BITMIME") options.server.eight_bit = false;
    if (word == "SIZE") options.server.size = false;
  }
  options.server.starttls = !options.chain.empty();
  auto moods = read_moods(options);
  if (!moods) return moods.error();
  options.moods = *std::move(moods);
  return {};
}

}  // namespace

std::expected<Moods, std::string> read_moods(const SinkOptions& options) {
  auto texts = options.mood_texts;
  if (!options.mood_file.empty()) {
    std::ifstream file(options.mood_file);
    if (!file) return std::unexpected("cannot read " + options.mood_file);
    for (std::string line; texts.size() <= Moods::kMost && std::getline(file, line);)
      if (const auto text = base::trim(line); !text.empty() && !text.starts_with('#'))
        texts.emplace_back(text);
  }
  return Moods::parse(texts, options.seed);
}

std::expected<SinkOptions, Ending> parse_sink_options(std::vector<std::string> words) {
  SinkOptions options;
  TypedSink typed;
  CLI::App app("Takes mail, checks it, and writes down what came; or does what its moods say.",
               "postern-sink");
  describe(app, options, typed);
  if (auto ending = read(app, std::move(words))) return std::unexpected(*std::move(ending));
  if (const auto mistake = finish(typed, options); !mistake.empty()) return usage(app, mistake);
  return options;
}

}  // namespace postern::bench
