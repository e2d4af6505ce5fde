// The process of one mailbox: files into it as its user what the local deliverer sends, one message after the other, and
// waits for the disk while it does. Started as root, it finds its directory below the mailbox root, and from then on has
// nothing else: it is its chroot.
#pragma once

#include <memory>
#include <optional>

#include "common/config/roles.h"
#include "common/role/role.h"
#include "deliverd/local/maildir.h"

namespace postern::local {

class MailboxDaemon final : public role::Daemon {
 public:
  explicit MailboxDaemon(role::Host&) {}

  os::Result<void> prepare(std::string config, role::Directories directories,
                           const ipc::Boot& boot) override;
  [[nodiscard]] int root() const override { return root_.get(); }
  void start(event::Loop& loop) override { loop_ = &loop; }
  // It does not live as long as a configuration.
  std::expected<void, std::string> configure(std::string, base::Generation) override {
    return std::unexpected("a mailbox's process takes no other configuration");
  }
  void peer(const ipc::Peer& peer, base::UniqueFd fd) override;
  void listen(base::ListenerIndex, base::UniqueFd) override {}
  void processes(const ipc::Processes&) override {}
  // Until the deliverer has closed the channel there may be mail on its way.
  void stop(event::Callback done) override;

  // For ipc::Connection.
  void on(const ipc::FileMail& mail, ipc::Descriptors descriptors);
  void on(const ipc::FileBody& part);
  void closed() noexcept;

 private:
  struct Mail {
    base::RequestId request;
    bool again = false;
    deliverd::Delivery delivery;
  };
  void file(const Mail& mail);
  void break_off(const char* why);

  event::Loop* loop_ = nullptr;
  base::UniqueFd root_;
  std::unique_ptr<os::Disk> disk_;
  std::optional<Maildir> maildir_;
  std::unique_ptr<ipc::Connection<MailboxDaemon, ipc::Role::kMailbox, ipc::Role::kLocal>> local_;
  std::optional<Mail> arriving_;  // its body is not complete
  event::Callback stopped_;
};

}  // namespace postern::local
