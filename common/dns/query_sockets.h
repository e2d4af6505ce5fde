// QuerySockets: what c-ares sends and receives through (ares_set_socket_functions(3)).
//
// c-ares keeps one UDP socket to each name server for as long as any query is under way, so a busy process would
// ask everything from one port, and who forges an answer would have but 16 bits to guess. Here what c-ares takes
// for that socket is only a number. Each datagram goes out of a socket of its own, connected to the server, from
// a port that the kernel chooses at random; what comes in there is heard only if it repeats the id that went out.
// The sockets of a query are closed at its end. TCP, which nobody forges blindly, is as c-ares has it.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/event/loop.h"

struct ares_channeldata;
struct ares_options;

namespace postern::dns {

class QuerySockets {
 public:
  // c-ares shall look at what it knows by this number (ares_process_fd).
  using Ready = std::move_only_function<void(int number, bool readable, bool writable) noexcept>;

  explicit QuerySockets(Ready ready) : ready_(std::move(ready)) {}
  QuerySockets(const QuerySockets&) = delete;
  QuerySockets& operator=(const QuerySockets&) = delete;

  // Before a channel is made: adds itself to its options. Outlives the channel.
  void add_to(ares_options& options, int& mask);
  void serve(ares_channeldata* channel);
  // Before the first query; `loop` outlives this.
  void attach(event::Loop& loop) { loop_ = &loop; }

  // The query with this id is over.
  void close_query(std::uint16_t id);
  // Everything is over; what the channel says from now on is for nobody.
  void close_all() noexcept;

 private:
  static constexpr std::size_t kKept = 2;  // sockets of a query: of its latest tries, which may yet be answered

  struct Calls;  // of c-ares
  struct Server {
    sockaddr_storage address{};
    socklen_t size = 0;
  };
  struct Datagram {
    int number;
    std::uint16_t id;
    base::UniqueFd fd;
    std::unique_ptr<event::FdEvent> event;
  };

  int open(int family, int type);
  int connect(int number, const sockaddr* address, socklen_t size);
  ssize_t send(int number, std::string_view bytes);
  ssize_t receive(int number, void* buffer, std::size_t size, sockaddr* from, socklen_t* from_size);
  void close(int number);
  void watch_stream(int fd, bool readable, bool writable);
  void retire(std::unique_ptr<Datagram> datagram);

  event::Loop* loop_ = nullptr;
  Ready ready_;
  int last_number_ = 0;
  std::unordered_map<int, Server> servers_;  // by the number of what c-ares takes for a UDP socket
  std::unordered_map<std::uint16_t, std::vector<std::unique_ptr<Datagram>>> queries_;  // by id, the latest last
  std::unordered_map<int, std::unique_ptr<event::FdEvent>> streams_;
  Datagram* readable_ = nullptr;  // that c-ares is called for, until it has read
};

}  // namespace postern::dns
