// Between the control tool and queued: the spool as a whole, checked, written to a file, or filled
// from one. The tool asks for one piece after the other, and may stop at any; what a session began
// ends with it.
#pragma once

#include "common/ipc/control.h"

namespace postern::ipc {

inline constexpr std::size_t kSpoolSlice = 58 * 1024;  // bytes of an export file in one frame
inline constexpr std::size_t kExportedIds = 1000;      // in one RemoveExported

// One slice of the check; `begin`: from the beginning.
struct CheckSpool {
  static constexpr Type kType = Type::kCheckSpool;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  bool begin = false;
  static constexpr auto fields() {
    return fields_of(field("request", &CheckSpool::request), field("begin", &CheckSpool::begin));
  }
};

struct SpoolFindings {
  static constexpr Type kType = Type::kSpoolFindings;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<CheckSpool>;
  base::RequestId request;
  std::uint8_t exit = 0;              // of sysexits(3); not 0: why stands in `summary`
  std::vector<std::string> findings;  // a sentence each
  bool more = false;
  std::string summary;  // with the last one: what was looked at
  static constexpr auto fields() {
    return fields_of(field("request", &SpoolFindings::request),
                      field("exit", &SpoolFindings::exit),
                      field("findings", &SpoolFindings::findings, 64, 700),
                      field("more", &SpoolFindings::more),
                      field("summary", &SpoolFindings::summary, kMaxText));
  }
};

// The next bytes of an export file (common/transfer/file.h).
struct ExportSpool {
  static constexpr Type kType = Type::kExportSpool;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  bool begin = false;
  bool keep = false;  // with `begin`: messages go on being delivered, and are not held
  static constexpr auto fields() {
    return fields_of(field("request", &ExportSpool::request),
                      field("begin", &ExportSpool::begin), field("keep", &ExportSpool::keep));
  }
};

// Without bytes while one waits for a delivery to end.
struct ExportPart {
  static constexpr Type kType = Type::kExportPart;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<ExportSpool>;
  base::RequestId request;
  std::uint8_t exit = 0;
  std::string error;               // with `exit`
  std::vector<std::string> notes;  // what was left out, a sentence each
  bool more = false;
  Slice bytes;
  static constexpr auto fields() {
    return fields_of(field("request", &ExportPart::request), field("exit", &ExportPart::exit),
                      field("error", &ExportPart::error, kMaxText),
                      field("notes", &ExportPart::notes, 8, 300),
                      field("more", &ExportPart::more),
                      field("bytes", &ExportPart::bytes, kSpoolSlice));
  }
};

// They are safely in this file: those that this export holds are removed.
struct RemoveExported {
  static constexpr Type kType = Type::kRemoveExported;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  base::Token file;
  std::vector<base::MessageId> ids;
  static constexpr auto fields() {
    return fields_of(field("request", &RemoveExported::request),
                      field("file", &RemoveExported::file),
                      field("ids", &RemoveExported::ids, kExportedIds));
  }
};

// The next bytes of an export file that is to be taken in.
struct ImportSpool {
  static constexpr Type kType = Type::kImportSpool;
  static constexpr Route kRoute = kAsk;
  static constexpr Window kWindow{};
  base::RequestId request;
  bool begin = false;
  bool release = false;  // with `begin`: at its end, what it took goes out
  bool again = false;    // with `begin`: although this file was imported whole before
  bool end = false;      // these are the last ones
  Slice bytes;
  static constexpr auto fields() {
    return fields_of(field("request", &ImportSpool::request),
                      field("begin", &ImportSpool::begin),
                      field("release", &ImportSpool::release),
                      field("again", &ImportSpool::again), field("end", &ImportSpool::end),
                      field("bytes", &ImportSpool::bytes, kSpoolSlice));
  }
};

// Removed, or taken in: all of it is flushed.
struct SpoolDone {
  static constexpr Type kType = Type::kSpoolDone;
  static constexpr Route kRoute = kAnswer;
  using ReplyTo = Replies<RemoveExported, ImportSpool>;
  base::RequestId request;
  std::uint8_t exit = 0;
  bool over = false;  // an import needs no further bytes
  std::string text;
  std::uint64_t done = 0;  // messages removed by this, or taken in since the beginning
  std::uint64_t left = 0;  // messages left as they are: not held by this export, or here already
  static constexpr auto fields() {
    return fields_of(field("request", &SpoolDone::request), field("exit", &SpoolDone::exit),
                      field("over", &SpoolDone::over), field("text", &SpoolDone::text, kMaxText),
                      field("done", &SpoolDone::done), field("left", &SpoolDone::left));
  }
};

}  // namespace postern::ipc
