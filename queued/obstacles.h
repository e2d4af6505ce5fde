// Obstacles: what keeps mail of a queue from going now, found out from those who decide it: blocks, router,
// schedule, what is remembered of next hops. Several functions, each of which adds what it knows of, in the
// order in which they bind.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/ipc/explain.h"
#include "queued/engine.h"

namespace postern::queued {

// Where mail of a queue is tried first.
struct Site {
  std::string queue;
  Destination destination;
  QueueTime due{0};                    // the mail's own time; long past where it is due
  std::size_t way = 0;                 // of the destination
  bool second = false;                 // a second path of the queue
  bool local = false;                  // this way is the local deliverer's
  std::string hop_name;                // empty: its hosts are not known
  const Schedule::Hop* hop = nullptr;  // null: the schedule does not need it now
  const QueueRecord* wait = nullptr;   // what is remembered of its failures
  std::string place;                   // of the section that leads there
  [[nodiscard]] QueueTime dead_until() const {
    if (hop != nullptr) return hop->until;
    return wait == nullptr ? QueueTime(0) : wait->until;
  }
};

// Of mail that is due then. `second`: by this second path of the queue, whose destination it is; null: by none.
[[nodiscard]] Site site_of(const Engine& engine, const std::string& queue,
                           const Destination& destination, QueueTime due,
                           const Schedule::Queue* second = nullptr);
// The part of the queue that is looked at for all of it: the queue itself, or, where nothing is left of that, the first
// of its second paths.
[[nodiscard]] const Schedule::Queue& leading_path(const Schedule& schedule, const Schedule::Queue& queue);
// What is remembered of a next hop that fails; null: nothing.
[[nodiscard]] const QueueRecord* wait_for(const Engine& engine, const std::string& hop);

using Obstacles = std::vector<ipc::Obstacle>;

[[nodiscard]] ipc::Obstacle hold_of(const Engine& engine, const Message& message);
[[nodiscard]] ipc::Obstacle frozen_hop(const Engine& engine, const std::string& hop);
// Which MX hosts a queue leads to is not known after a start, until something of it is due. Till then a freeze of the
// host that a recipient was tried at last counts: there he will be tried again, unless the DNS says otherwise by then.
// That host as a next hop; empty: there is no such freeze, or the queue leads to `hop`, or its hosts are looked for.
[[nodiscard]] std::string frozen_before(const Engine& engine, const Destination& destination, const Schedule::Hop* hop,
                                        QueueTime due, const Recipient& recipient);
// Freezes and the outbound switch. `before`: as frozen_before() says.
void add_blocks(const Engine& engine, const Site& site, Obstacles& found, const std::string& before = {});
// Of the two that end by a time, the one that ends later comes first.
void add_waits(const Engine& engine, const Site& site, Obstacles& found);
// The start, deliverers, look-ups, rates, connections.
void add_connections(const Engine& engine, const Site& site, Obstacles& found);

// What none of these obstacles is about, in words.
[[nodiscard]] std::vector<std::string> passed(const Engine& engine, const Site& site, const Obstacles& obstacles);
// The state that the first of them means.
[[nodiscard]] ipc::State state_of(const Obstacles& obstacles);
// When they all will be over, if nothing else comes between; 0: nobody can tell.
[[nodiscard]] base::WallTime end_of(const Obstacles& obstacles, base::WallTime now);

[[nodiscard]] ipc::Way way_of(const Site& site, const RoutedBy& by);
// Of a second path: which way of the whole route, of these hosts, it is.
void place_in_route(const std::vector<config::HopSpec>& via, const Site& site, ipc::Way& way);
// `failures`: in a row until now.
[[nodiscard]] ipc::RetryPlan plan_of(const Engine& engine, const std::string& queue,
                                     std::optional<ipc::FailureClass> failure,
                                     std::uint32_t failures);

[[nodiscard]] std::string cut(std::string text, std::size_t limit);

}  // namespace postern::queued
