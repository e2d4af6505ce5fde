// What posternctl shows to people: a status screen, tables, and a page about one message.
// Everything of foreign origin is escaped, but for harmless UTF-8 (base::readable). Pure but for the local zone;
// see human.h.
#pragma once

#include <string>

#include "common/ipc/control.h"
#include "ctl/table.h"

namespace postern::ctl {

// In capitals.
[[nodiscard]] std::string upper(std::string_view text);
// "<>" for the null one.
[[nodiscard]] std::string path_text(const mail::ReversePath& path);

// The whole screen, in the zone of the reader.
[[nodiscard]] std::string status_screen(const ipc::Status& status);

[[nodiscard]] Table queue_table(std::size_t line_width);
[[nodiscard]] Table hop_table(std::size_t line_width);
void add_row(Table& table, const ipc::QueueRow& row, base::WallTime now);

[[nodiscard]] Table message_table(std::size_t line_width);
void add_row(Table& table, const ipc::MessageRow& row, base::WallTime now);

[[nodiscard]] Table block_table(std::size_t line_width);
void add_row(Table& table, const ipc::BlockRow& row, base::WallTime now);

[[nodiscard]] Table history_table(std::size_t line_width);
void add_row(Table& table, const ipc::HistoryRow& row, base::WallTime now);

// The first word on something that was stopped: it is in force, and so much of it is in flight.
// `until`: when it ends by itself; 0: it does not.
[[nodiscard]] std::string stopped_line(const ipc::Done& done, base::WallTime until,
                                       base::WallTime now);
// And what is told from then on.
[[nodiscard]] std::string quiet_lines(const ipc::Quiet& quiet);

// `shown` with the recipients of all its pages.
[[nodiscard]] std::string message_page(base::MessageId id, const ipc::Shown& shown,
                                       base::WallTime now);

// For a terminal that shows ASCII alone: every other byte as \xHH.
[[nodiscard]] std::string ascii_text(std::string_view text);

// Does a terminal with these variables show UTF-8? The first one that is set counts.
[[nodiscard]] bool shows_utf8(std::string_view lc_all, std::string_view lc_ctype,
                              std::string_view lang);

// A piece of a message for a terminal: line feeds and tabs stay, every other byte that is not
// printable ASCII is shown as \xHH.
[[nodiscard]] std::string terminal_text(std::string_view bytes);

// An answer's text, line by line, ending in a line feed; empty stays empty.
[[nodiscard]] std::string plain(std::string_view text);

}  // namespace postern::ctl
