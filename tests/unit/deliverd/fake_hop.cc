#include "fake_hop.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

namespace postern::relay {

struct FakeHop::Session final : event::StreamOwner {
  Session(FakeHop& owner, base::UniqueFd fd)
      : hop(owner),
        stream(owner.loop_, std::move(fd), *this),
        again(owner.loop_, [this]() noexcept { stream.resume(); }) {}
  std::size_t on_input(std::string_view bytes) noexcept override {
    ++hop.reads;
    const bool more_of_body = in_data;
    std::size_t used = 0;
    while (used < bytes.size() && stream.open()) {
      const auto rest = bytes.substr(used);
      if (hop.proxied && !begun) {
        const auto size = header_size(rest);
        if (rest.size() < size) break;
        hop.headers.emplace_back(rest.substr(0, size));
        hop.begin(*this);
        used += size;
        if (hop.tls_first_) break;  // what follows is for TLS
        continue;
      }
      if (chunk_left > 0) {
        used += take_chunk(rest);
        continue;
      }
      const auto end = rest.find(in_data ? "\r\n.\r\n" : "\r\n");
      if (end == std::string_view::npos) break;
      used += end + (in_data ? 5 : 2);
      if (in_data) hop.messages.emplace_back(rest.substr(0, end + 2));
      const std::string line = in_data ? "<message>" : std::string(rest.substr(0, end));
      in_data = false;
      if (line != "<message>") hop.lines.push_back(line);
      hop.reply(*this, line);
    }
    // Kept input is offered again on resuming: only what is new is worth a pause.
    if (in_data && hop.slow && bytes.size() != std::exchange(offered, bytes.size())) {
      stream.pause();
      again.start(base::Millis(2));
    }
    if (more_of_body && !hop.interruption.empty()) {
      stream.output() += std::exchange(hop.interruption, {}) + "\r\n";
      if (hop.hangs_up) hop.loop_.defer([this]() noexcept { hang_up(); });
    }
    return used;
  }
  void on_closed(event::CloseReason) noexcept override { --hop.open; }
  void hang_up() {
    stream.close();
    --hop.open;
  }
  static std::size_t header_size(std::string_view bytes) {
    constexpr std::size_t kFixed = 16;
    if (bytes.size() < kFixed) return kFixed;
    return kFixed + static_cast<std::uint8_t>(bytes[14]) * 256U + static_cast<std::uint8_t>(bytes[15]);
  }
  std::size_t take_chunk(std::string_view bytes) {
    const auto part = bytes.substr(0, chunk_left);
    chunk += part;
    chunk_left -= part.size();
    if (chunk_left == 0) {
      hop.messages.push_back(std::exchange(chunk, {}));
      hop.reply(*this, "<message>");
    }
    return part.size();
  }
  FakeHop& hop;
  event::Stream stream;
  event::Timer again;
  bool begun = false;
  bool in_data = false;
  std::size_t chunk_left = 0;
  std::string chunk;
  std::size_t offered = 0;
};

FakeHop::FakeHop(event::Loop& loop, Answer answer, std::string_view address, std::uint16_t port)
    : loop_(loop), answer_(std::move(answer)) {
  socket_ = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage where{};
  auto size = base::to_sockaddr({base::parse_ip(address).value(), port}, where);
  auto* generic = reinterpret_cast<sockaddr*>(&where);
  bound_ = ::bind(socket_.get(), generic, size) == 0 && ::listen(socket_.get(), 50) == 0;
  size = sizeof where;
  ::getsockname(socket_.get(), generic, &size);
  endpoint_ = base::from_sockaddr(where).value();
  event_ = std::make_unique<event::FdEvent>(loop, socket_.get(),
                                            [this](bool, bool) noexcept { accept(); });
  event_->watch(true, false);
}

FakeHop::~FakeHop() = default;

void FakeHop::secure(std::shared_ptr<const tls::ServerContext> context, tls::Signer& signer,
                     bool first) {
  context_ = std::move(context);
  signer_ = &signer;
  tls_first_ = first;
}

void FakeHop::serve(base::UniqueFd fd) {
  ++sessions;
  ++open;
  sessions_.push_back(std::make_unique<Session>(*this, std::move(fd)));
  begin(*sessions_.back());
  sessions_.back()->stream.flush();
}

void FakeHop::interrupt(const std::string& line) {
  sessions_.back()->stream.output() += line + "\r\n";
  sessions_.back()->stream.flush();
}

void FakeHop::accept() noexcept {
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  auto fd = base::UniqueFd::adopt(
      ::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK));
  if (!fd.valid()) return;
  peers.push_back(base::to_string(base::from_sockaddr(from).value().address));
  if (slow) {
    const int small = 16 * 1024;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  }
  ++sessions;
  ++open;
  sessions_.push_back(std::make_unique<Session>(*this, std::move(fd)));
  if (!proxied) begin(*sessions_.back());
  sessions_.back()->stream.flush();
}

void FakeHop::begin(Session& session) {
  session.begun = true;
  if (tls_first_) session.stream.put(tls::Session::accept(context_, *signer_));
  reply(session, "<greeting>");
}

void FakeHop::reply(Session& session, const std::string& line) {
  if (chunks && line.starts_with("BDAT ")) {
    session.chunk_left = std::stoul(line.substr(5));
    return;
  }
  bool close = false;
  std::optional<std::string> text;
  if (answer_) text = answer_(line, close);
  if (!text) text = usual(line);
  if (line == "DATA" && text->starts_with("354")) session.in_data = true;
  if (line == "QUIT") close = true;
  if (line == "STARTTLS" && context_ && text->starts_with("220")) {
    session.stream.output() += *text + "\r\n";
    return session.stream.put(tls::Session::accept(context_, *signer_));
  }
  if (!text->empty()) session.stream.output() += *text + "\r\n";
  if (close) session.stream.close_after_flush();
}

std::string FakeHop::usual(const std::string& line) {
  if (line == "<greeting>") return "220 fake ESMTP";
  if (line.starts_with("EHLO")) return "250-fake\r\n250-PIPELINING\r\n250 SIZE";
  if (line == "DATA") return "354 go";
  if (line == "QUIT") return "221 bye";
  if (line == "STARTTLS") return "220 go";
  return line == "<message>" ? "250 2.0.0 taken" : "250 ok";
}

}  // namespace postern::relay
