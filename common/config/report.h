// Collects the mistakes of one load().
#pragma once

#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/config/mistake.h"
#include "common/config/value.h"

namespace postern::config {

class Report {
 public:
  // `document` must outlive the report; its list of files may still grow.
  explicit Report(const Document& document) : document_(document) {}

  void add(Mistake mistake);
  void add(const Where& where, std::string key, std::string text);
  void add(const Place& place, std::string key, std::string text);
  // About what stands at `key`: placed at the value, which is quoted.
  void add(const Value& value, std::string key, std::string text);

  [[nodiscard]] Where where(const Place& place) const;
  [[nodiscard]] bool empty() const noexcept { return mistakes_.empty(); }
  // All of them, in the order of files and places.
  [[nodiscard]] std::vector<Mistake> take();

 private:
  const Document& document_;
  std::vector<Mistake> mistakes_;
  std::size_t dropped_ = 0;
};

}  // namespace postern::config
