// A child process that does what its configuration says, in words: "ready", "die", "deaf" (to
// Stop), "hang-up" (closes its channel and stays), "silent" and "refuse" (to a new configuration), "unable" (to open
// its mailbox).
#include <unistd.h>

#include <csignal>
#include <string>

#include "common/os/socket.h"
#include "common/role/parent_link.h"

namespace postern::parent {
namespace {

class Fake final : public role::ParentLink::Listener {
 public:
  Fake(event::Loop& loop, ipc::Role role) : loop_(loop), link_(role::make_parent_link(loop, role, *this)) {}

  void on_boot(const ipc::Boot&, ipc::Descriptors descriptors) override {
    words_ = os::read_sealed_memory(descriptors[0].get(), 4096).value_or("die");
    (void)!::write(descriptors[1].get(), "booted\n", 7);
    if (says("die")) ::_exit(3);
    if (says("unable")) return link_->send(ipc::Unable{"somebody else's"});
    link_->send(ipc::Ready{});
    if (says("hang-up")) loop_.defer([this]() noexcept { link_.reset(); });  // behind the flush
  }
  void on_configure(const ipc::Configure& configure, base::UniqueFd config) override {
    const auto words = os::read_sealed_memory(config.get(), 4096).value_or("refuse");
    if (words.find("silent") != words.npos) return;
    const bool good = words.find("refuse") == words.npos;
    answer_ = {configure.request, good, good ? "" : "I will not"};
    later_.start(base::Millis(5));  // a second one on its way would break the window meanwhile
  }
  void on_stop(const ipc::Stop&) override {
    if (!says("deaf")) ::_exit(0);
  }
  void on_peer(const ipc::Peer&, base::UniqueFd fd) override { peer_ = std::move(fd); }
  void on_listen(const ipc::Listen&, base::UniqueFd) override {}
  void on_tally(const ipc::Tally&, base::UniqueFd) override {}
  void on_socket(const ipc::Socket&, base::UniqueFd) override {}
  void on_mailbox_ready(const ipc::MailboxReady&, base::UniqueFd) override {}
  void on_processes(const ipc::Processes&) override {}
  void on_done(const ipc::Done&) override {}
  void on_parent_gone() override { ::_exit(4); }

 private:
  [[nodiscard]] bool says(const char* word) const { return words_.find(word) != std::string::npos; }

  event::Loop& loop_;
  ipc::Configured answer_;
  event::Timer later_{loop_, [this]() noexcept { link_->send(answer_); }};
  std::unique_ptr<role::ParentLink> link_;
  std::string words_;
  base::UniqueFd peer_;
};

}  // namespace
}  // namespace postern::parent

int main(int, char** argv) {
  using postern::ipc::Role;
  ::signal(SIGPIPE, SIG_IGN);
  postern::event::Loop loop;
  postern::parent::Fake fake(loop, std::string_view(argv[1]) == "mailbox" ? Role::kMailbox : Role::kRelay);
  loop.run();
}
