// Exchange: one question and its answer, over the network. It asks the name servers in their order,
// by UDP and, where the answer is truncated, by TCP, each round with twice the patience.
//
// Each attempt has a socket of its own, whose port the kernel chooses at random, and an id from the
// kernel's random numbers; the socket is connected, so that only the server's own address is heard.
// What does not repeat id and question is passed over, and the true answer may still come.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ip.h"
#include "common/event/loop.h"

namespace postern::dns {

class Exchange {
 public:
  // The response, or why there is none.
  using Done = std::move_only_function<void(std::string response, std::string trouble) noexcept>;

  struct Options {
    base::Millis timeout;  // of the first round
    int tries;             // rounds
  };

  // `done` is called once, at the end of a turn; the exchange may be destroyed in it, or before it.
  Exchange(event::Loop& loop, std::vector<base::Endpoint> servers, Options options,
           std::string name, std::uint16_t type, Done done);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

 private:
  void next_server();
  bool open(int socket_type);
  void on_ready(bool readable, bool writable) noexcept;
  void read_datagrams();
  void write_stream();
  void read_stream();
  [[nodiscard]] bool take(std::string_view response);
  void drop_socket() noexcept;
  void finish(std::string response, std::string trouble);

  event::Loop& loop_;
  const std::vector<base::Endpoint> servers_;
  const Options options_;
  const std::string name_;
  const std::uint16_t type_;
  Done done_;
  event::Timer timer_;         // of the attempt
  std::vector<bool> refused_;  // servers that answered, but not the question
  int round_ = 0;
  std::size_t next_ = 0;  // server
  std::size_t server_ = 0;
  bool edns_ = true;
  std::string query_;
  base::UniqueFd fd_;
  std::unique_ptr<event::FdEvent> event_;
  bool by_stream_ = false;
  std::string stream_out_;  // the query with its length, what is not sent yet
  std::string stream_in_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::dns
