#include "queued/tickets.h"

#include <utility>

namespace postern::queued {

bool Tickets::give(const base::Token& session, std::uint32_t smtpd, std::string account) {
  if (sessions_.size() >= kMost && !sessions_.contains(session)) return false;
  sessions_.insert_or_assign(session, Ticket{smtpd, std::move(account)});
  return true;
}

const std::string* Tickets::account_of(const base::Token& session, std::uint32_t smtpd) const {
  const auto at = sessions_.find(session);
  return at == sessions_.end() || at->second.smtpd != smtpd ? nullptr : &at->second.account;
}

std::size_t Tickets::drop_account(const std::string& account) {
  return std::erase_if(sessions_, [&](const auto& one) { return one.second.account == account; });
}

TicketDesk::TicketDesk(event::Loop& loop, Tickets& tickets, MayLogIn may_log_in)
    : loop_(loop), tickets_(tickets), may_log_in_(std::move(may_log_in)) {}

// auth tells again who is logged in; whoever it does not know, because its former life let him in, keeps
// what he has.
void TicketDesk::connect(base::UniqueFd fd) {
  connection_ = std::make_unique<Connection>(loop_, std::move(fd), *this);
}

void TicketDesk::on(const ipc::Ticket& ticket) {
  const bool taken = may_log_in_(ticket.account) &&
                     tickets_.give(ticket.session, ticket.smtpd, ticket.account);
  connection_->send(ipc::TicketTaken{ticket.request, taken});
}

}  // namespace postern::queued
