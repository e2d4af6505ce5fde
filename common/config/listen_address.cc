#include "common/config/listen_address.h"

#include <fmt/format.h>

#include "common/config/roles.h"
#include "common/config/section.h"

namespace postern::config {
namespace {

constexpr std::string_view kUnix = "unix:";

std::expected<ListenAddress, std::string> parse_socket(std::string_view text, const std::string& file) {
  const auto path = parse_path(text, file);
  if (!path) return std::unexpected(path.error());
  if (path->size() > kMaxSocketPath)
    return std::unexpected(fmt::format("{} is too long for the name of a socket", *path));
  return ListenAddress{{}, *path};
}

}  // namespace

std::string to_string(const ListenAddress& address) {
  return address.is_socket() ? fmt::format("{}{}", kUnix, address.path) : base::to_string(address.endpoint);
}

std::expected<ListenAddress, std::string> parse_listen_address(std::string_view text,
                                                               const std::string& file) {
  if (text.starts_with(kUnix)) return parse_socket(text.substr(kUnix.size()), file);
  const auto endpoint = base::parse_endpoint(text);
  if (endpoint && endpoint->port > 0) return ListenAddress{*endpoint, {}};
  return std::unexpected(
      R"(expected an address and a port, like "0.0.0.0:25" or "[::]:25", or "unix:" and a socket)");
}

}  // namespace postern::config
