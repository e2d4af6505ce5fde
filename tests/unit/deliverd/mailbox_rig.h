// What tests of mailboxes need: a directory, a message, and a look at what was filed.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "deliverd/local/mailbox.h"

namespace postern::local {

namespace fs = std::filesystem;

// A directory that goes with the test.
class TempDir {
 public:
  TempDir() {
    std::string name = fs::temp_directory_path() / "postern-mailbox-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~TempDir() { fs::remove_all(path_); }
  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] std::unique_ptr<os::Disk> disk() const {
    return os::real_disk(base::UniqueFd::adopt(::open(path_.c_str(), O_RDONLY | O_DIRECTORY)));
  }

 private:
  fs::path path_;
};

inline std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

inline ipc::LeaseRecipient recipient(std::string user = "user", std::string domain = "example.org") {
  return {3, mail::Address::parse("User+x@example.org").value(), std::move(user),
          std::move(domain)};
}

inline deliverd::Delivery delivery(std::string body = "Subject: x\r\n\r\n..dot\r\nend\r\n") {
  deliverd::Delivery d;
  d.lease.message = base::MessageId(1'700'000'000'123);
  d.lease.arrived = {1'234'567'890'500};
  d.lease.from = mail::ReversePath(mail::Address::parse("a@b.example").value());
  d.lease.recipients.push_back(recipient());
  d.lease.prefix = "Received: by us\r\n\tfor you\r\n";
  d.lease.body_size = body.size();
  d.body = std::move(body);
  return d;
}

inline config::LocalConfig maildirs(std::string path) {
  config::LocalConfig config;
  config.hostname = "mx1.example.org";
  config.path = std::move(path);
  return config;
}

inline config::LocalConfig drop_folder() {
  config::LocalConfig config;
  config.kind = config::MailboxKind::kDrop;
  return config;
}

}  // namespace postern::local
