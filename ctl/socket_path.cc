#include "ctl/socket_path.h"

#include <fmt/format.h>
#include <sys/un.h>
#include <sysexits.h>

#include "common/base/text.h"
#include "common/config/document.h"

namespace postern::ctl {
namespace {

std::expected<std::string, Ending> runtime_directory(const std::string& file) {
  config::Document document;
  config::Report report(document);
  const bool good = config::read_document(file, document, report);
  const auto* const runtime = document.root.find("runtime");
  if (runtime != nullptr && runtime->type == config::Type::kString && !runtime->text.empty())
    return config::resolve(runtime->text, file);
  if (good && runtime == nullptr) return config::Config().runtime;
  std::string text;
  for (const auto& mistake : report.take()) text += config::to_string(mistake) + '\n';
  return std::unexpected(Ending{
      EX_CONFIG, fmt::format("{}posternctl: {} does not tell where the server's control socket "
                             "is; name it with --socket PATH\n",
                             text, base::printable(file))});
}

}  // namespace

std::expected<std::string, Ending> socket_path(const Command& command) {
  auto path = command.socket;
  if (path.empty()) {
    auto runtime =
        runtime_directory(command.config.empty() ? POSTERN_DEFAULT_CONFIG : command.config);
    if (!runtime) return std::unexpected(std::move(runtime.error()));
    path = *std::move(runtime) + "/control.sock";
  }
  if (path.size() < sizeof(sockaddr_un::sun_path)) return path;
  return std::unexpected(
      Ending{EX_USAGE, fmt::format("posternctl: {}: the path of a socket has at most {} bytes\n",
                                   base::printable(path), sizeof(sockaddr_un::sun_path) - 1)});
}

}  // namespace postern::ctl
