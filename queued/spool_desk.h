// SpoolDesk: what one session of the control tool asks of the spool as a whole: its check while mail
// flows, an export, an import. It ends with the session, and what was begun with it. All on the loop.
#pragma once

#include <functional>
#include <memory>

#include "queued/exporter.h"
#include "queued/importer.h"

namespace postern::queued {

class SpoolDesk {
 public:
  template <class Answer>
  using Reply = std::move_only_function<void(const Answer&) noexcept>;

  SpoolDesk(event::Loop& loop, TransferHost& host) : loop_(loop), host_(host) {}
  ~SpoolDesk() { *alive_ = false; }
  SpoolDesk(const SpoolDesk&) = delete;
  SpoolDesk& operator=(const SpoolDesk&) = delete;

  void check(const ipc::CheckSpool& ask, Reply<ipc::SpoolFindings> reply);
  void export_next(const ipc::ExportSpool& ask, Reply<ipc::ExportPart> reply);
  void import_next(const ipc::ImportSpool& ask, Reply<ipc::SpoolDone> reply);
  void remove_exported(const ipc::RemoveExported& ask, Reply<ipc::SpoolDone> reply);

 private:
  struct Check {
    CheckPlace place;
    CheckCounts counts;
    std::vector<std::string> waiting;  // findings that did not fit into an answer yet
  };
  void answer_check(base::RequestId request, Reply<ipc::SpoolFindings> reply);
  void removed(const ipc::RemoveExported& ask, Reply<ipc::SpoolDone> reply);

  event::Loop& loop_;
  TransferHost& host_;
  std::unique_ptr<Check> check_;
  std::unique_ptr<Exporter> exporter_;
  std::unique_ptr<Importer> importer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Takes what fits into one answer out of `waiting`.
[[nodiscard]] std::vector<std::string> take_findings(std::vector<std::string>& waiting);
// "12 messages, 3.4 MiB of bodies, ..."
[[nodiscard]] std::string summary_of(const CheckCounts& counts);

}  // namespace postern::queued
