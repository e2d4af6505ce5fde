#include "ctl/offline.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "common/base/text.h"
#include "common/config/config.h"
#include "common/config/document.h"
#include "common/config/units.h"
#include "common/os/process.h"

namespace postern::ctl {
namespace {

// What the offline queued must know of the configuration.
class Settings {
 public:
  // Mistakes elsewhere in the configuration do not matter.
  [[nodiscard]] std::expected<void, Ending> read(const std::string& path) {
    file_ = path;
    config::Report report(document_);
    if (config::read_document(path, document_, report)) return {};
    std::string text;
    for (const auto& mistake : report.take()) text += config::to_string(mistake) + '\n';
    return std::unexpected(
        Ending{EX_CONFIG, fmt::format("{}posternctl: {} does not tell where the spool is\n", text,
                                      base::printable(path))});
  }

  [[nodiscard]] std::string path(std::string_view key, const std::string& otherwise) const {
    const auto found = text({}, key);
    return found.empty() ? otherwise : config::resolve(found, file_);
  }
  [[nodiscard]] std::string text(std::string_view table, std::string_view key) const {
    const auto* in = table.empty() ? &document_.root : document_.root.find(table);
    const auto* value = in == nullptr ? nullptr : in->find(key);
    return value != nullptr && value->type == config::Type::kString ? value->text : std::string();
  }
  [[nodiscard]] std::uint64_t size(std::string_view key, std::uint64_t otherwise) const {
    return config::parse_size(text("space", key)).value_or(otherwise);
  }
  [[nodiscard]] base::Millis span(std::string_view table, std::string_view key,
                                  base::Millis otherwise) const {
    return config::parse_duration(text(table, key)).value_or(otherwise);
  }

 private:
  std::string file_;
  config::Document document_;
};

std::string program() {
  const auto here = os::program_directory();
  if (here && here->ends_with("/ctl")) {
    const auto built = here->substr(0, here->rfind('/')) + "/queued/postern-queued";
    if (::access(built.c_str(), X_OK) == 0) return built;
  }
  return POSTERN_LIBEXECDIR "/postern-queued";
}

std::string_view errand(Verb verb) {
  return verb == Verb::kCheckSpool ? "check" : verb == Verb::kExport ? "export" : "import";
}

}  // namespace

bool works_offline(Verb verb) {
  return verb == Verb::kCheckSpool || verb == Verb::kExport || verb == Verb::kImport;
}

std::expected<std::unique_ptr<OfflineQueued>, Ending> OfflineQueued::start(const Command& command) {
  Settings settings;
  if (auto read = settings.read(command.config.empty() ? POSTERN_DEFAULT_CONFIG : command.config); !read)
    return std::unexpected(std::move(read.error()));
  const config::Config usual;
  const auto spool = settings.path("spool", usual.spool);
  std::vector<std::string> words{"--offline", std::string(errand(command.verb)), spool};
  if (command.verb != Verb::kCheckSpool) {
    words.push_back(settings.text({}, "hostname"));
    words.push_back(std::to_string(settings.size("segment", usual.space.segment)));
    words.push_back(std::to_string(settings.size("reserve", usual.space.reserve)));
    words.push_back(std::to_string(settings.size("stop_intake", usual.space.stop_intake)));
    words.push_back(
        std::to_string(settings.span("retry", "max_gap", usual.retry.max_gap).count()));
  }
  std::fprintf(stderr, "posternctl: no server runs; working on the spool %s itself\n",
               base::printable(spool).c_str());
  auto pair = ipc::make_channel_pair();
  const auto name = program();
  const auto pid = os::spawn(name, words, std::move(pair.b));
  if (!pid)
    return std::unexpected(
        Ending{EX_OSERR, fmt::format("posternctl: {}\n", base::printable(pid.error().text()))});
  auto client = std::make_unique<Client>(std::move(pair.a), "postern-queued --offline");
  return std::unique_ptr<OfflineQueued>(new OfflineQueued(std::move(client), *pid));
}

OfflineQueued::~OfflineQueued() {
  client_.reset();  // the end of the channel is its sign
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
}

}  // namespace postern::ctl
