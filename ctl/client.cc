#include "ctl/client.h"

#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/os/socket.h"

namespace postern::ctl {
namespace {

constexpr base::Millis kPatience{60'000}, kMorePatience{3'600'000};

Ending no_right(const std::string& path) {
  return {EX_NOPERM,
          fmt::format("posternctl: no permission to use {}: it is for root, the server's "
                      "user and the groups in [control]\n",
                      base::printable(path))};
}

Ending cannot_connect(const std::string& path, const os::Error& error) {
  const auto shown = base::printable(path);
  switch (error.number) {
    case EACCES:
    case EPERM:
      return no_right(path);
    case ENOENT:
    case ECONNREFUSED:
      return {
          EX_UNAVAILABLE,
          fmt::format("posternctl: no server answers at {}; start it with \"systemctl start "
                      "postern\" or \"postern -f -c FILE\", or name its configuration with -c\n",
                      shown)};
    default:
      return {EX_UNAVAILABLE,
              fmt::format("posternctl: {}: {}\n", shown, ::strerrordesc_np(error.number))};
  }
}

}  // namespace

std::expected<std::unique_ptr<Client>, Ending> Client::connect(const std::string& path) {
  auto fd = os::connect_unix(path);
  if (!fd) return std::unexpected(cannot_connect(path, fd.error()));
  return std::make_unique<Client>(*std::move(fd), path);
}

Client::Client(base::UniqueFd fd, std::string path)
    : path_(std::move(path)), patience_(kPatience), connection_(loop_, std::move(fd), *this) {}

void Client::on(const ipc::BodyPart& m) {
  bytes_.assign(m.bytes.bytes);  // the channel's own go when this returns
  auto kept = m;
  kept.bytes.bytes = bytes_;
  answer_ = kept;
}

void Client::on(const ipc::ExportPart& m) {
  bytes_.assign(m.bytes.bytes);
  auto kept = m;
  kept.bytes.bytes = bytes_;
  answer_ = kept;
}

void Client::be_patient() {
  patience_ = kMorePatience;
}

std::expected<void, Ending> Client::wait() {
  bool late = false;
  event::Timer patience(loop_, [&]() noexcept { late = true; });
  patience.start(patience_);
  while (std::holds_alternative<std::monostate>(answer_) && !closed_ && !late) loop_.run_once(true);
  if (!std::holds_alternative<std::monostate>(answer_)) {
    answered_ = true;
    return {};
  }
  if (closed_) return std::unexpected(why_closed());
  return std::unexpected(
      Ending{EX_TEMPFAIL, fmt::format("posternctl: the server at {} took the question and gave no "
                                      "answer within {} s; what was asked may still happen\n",
                                      base::printable(path_), patience_.count() / 1000)});
}

Ending Client::why_closed() {
  const auto& trouble = connection_.channel().trouble();
  if (trouble.find("build") != std::string::npos)
    return {EX_PROTOCOL,
            fmt::format("posternctl: the server at {} is another build than this tool "
                        "(" POSTERN_VERSION "): use the posternctl that came with it, or "
                        "restart it\n",
                        base::printable(path_))};
  const bool just_gone =
      trouble.empty() || trouble.starts_with("read: ") || trouble.starts_with("write: ");
  if (!just_gone)
    return {EX_PROTOCOL, fmt::format("posternctl: the server at {}: {}\n", base::printable(path_),
                                     base::printable(trouble))};
  // The server closes without a word on those who have no right at all.
  if (!answered_ && ::geteuid() != 0) return no_right(path_);
  return {
      EX_UNAVAILABLE,
      fmt::format("posternctl: the server at {} closed the connection without an answer; look into "
                  "its log\n",
                  base::printable(path_))};
}

}  // namespace postern::ctl
