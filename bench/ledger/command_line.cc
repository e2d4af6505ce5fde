#include "bench/ledger/command_line.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <algorithm>
#include <sstream>

#include "common/base/text.h"
#include "common/config/units.h"

namespace postern::bench {

std::unexpected<Ending> usage(const CLI::App& app, const std::string& text) {
  return std::unexpected(
      Ending{EX_USAGE, fmt::format("{0}: {1}\nTry: {0} --help\n", app.get_name(), text)});
}

std::optional<Ending> read(CLI::App& app, std::vector<std::string> words) {
  app.set_version_flag("--version", app.get_name() + " " POSTERN_VERSION);
  std::reverse(words.begin(), words.end());  // CLI11 reads from the back
  try {
    app.parse(std::move(words));
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    if (app.exit(error, out, err) == 0) return Ending{0, out.str()};
    return usage(app, base::printable(error.what())).error();
  }
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, base::Millis& into,
                          const std::string& text) {
  const auto read_duration = [&into](const std::string& word) {
    const auto duration = config::parse_duration(word);
    if (!duration) throw CLI::ValidationError("\"" + word + "\" is no time like 500ms, 30s or 5m");
    into = *duration;
  };
  return app.add_option_function<std::string>(name, read_duration, text)->type_name("TIME");
}

}  // namespace postern::bench
