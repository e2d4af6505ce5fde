// Certificates for tests, made by the openssl program: an authority and what it signed. Made once
// for a test program and each set of wishes.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace postern::tls::test {

struct Issued {
  std::string chain, key;            // PEM
  std::string chain_file, key_file;  // in a directory of the test program's
};

class Authority {
 public:
  // For the whole program.
  static Authority& instance() {
    static Authority authority;
    return authority;
  }

  [[nodiscard]] std::string root() const { return read("root.pem"); }
  [[nodiscard]] std::string root_file() const { return file("root.pem"); }

  // `kind`: "rsa:2048", "P-256", "P-384", "ed25519", ... `names` of DNS; `more`: words for `openssl
  // x509`.
  const Issued& issue(const std::vector<std::string>& names, const std::string& kind = "P-256",
                      const std::string& more = "-days 30") {
    auto& issued = issued_[kind + '|' + more + '|' + joined(names)];
    if (!issued.key.empty()) return issued;
    const auto stem = std::to_string(issued_.size());
    make_key(kind, stem + ".key");
    std::ofstream(file(stem + ".ext")) << (names.empty() ? "" : "subjectAltName=" + joined(names));
    run("openssl req -new -key " + stem +
        ".key -subj '/CN=" + (names.empty() ? "nobody" : names[0]) + "' -out " + stem + ".csr");
    run("openssl x509 -req -in " + stem +
        ".csr -CA root.pem -CAkey root.key -CAcreateserial -extfile " + stem + ".ext " + more +
        " -out " + stem + ".pem");
    issued = {read(stem + ".pem"), read(stem + ".key"), file(stem + ".pem"), file(stem + ".key")};
    return issued;
  }

 private:
  Authority() {
    std::string name = (std::filesystem::temp_directory_path() / "postern-ca-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    make_key("P-256", "root.key");
    run("openssl req -x509 -new -key root.key -subj /CN=root -days 30 -out root.pem");
  }
  ~Authority() {
    std::error_code error;
    std::filesystem::remove_all(directory_, error);
  }

  void make_key(const std::string& kind, const std::string& to) const {
    const bool rsa = kind.starts_with("rsa:");
    const auto type = kind == "ed25519" ? "ED25519"
                      : rsa             ? "RSA -pkeyopt rsa_keygen_bits:" + kind.substr(4)
                                        : "EC -pkeyopt ec_paramgen_curve:" + kind;
    run("openssl genpkey -algorithm " + type + " -out " + to);
  }
  static std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "DNS:" : ",DNS:") + name;
    return text;
  }
  void run(const std::string& command) const {
    const auto whole = "cd " + directory_ + " && " + command + " 2>>errors";
    if (std::system(whole.c_str()) != 0) ADD_FAILURE() << command << '\n' << read("errors");
  }
  [[nodiscard]] std::string file(const std::string& name) const { return directory_ + '/' + name; }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(file(name), std::ios::binary).rdbuf();
    return text.str();
  }

  std::string directory_;
  std::map<std::string, Issued> issued_;
};

}  // namespace postern::tls::test
