#include "queued/record.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/fault.h"

namespace postern::queued {
namespace {

std::uint32_t place_crc(std::uint64_t segment, std::uint64_t offset) {
  if (fault::planted(fault::Fault::kOldEpochAccepted)) segment = 0;
  if (fault::planted(fault::Fault::kRecordInBodyCounted)) return 0;
  const std::uint64_t place[] = {segment, offset};  // little-endian, as in base/bytes.h
  return base::crc32c({reinterpret_cast<const char*>(place), sizeof place});
}

}  // namespace

void append_frame(std::string& out, std::uint64_t segment, std::uint64_t offset, RecordType type,
                  const FrameName& name, std::string_view fields, std::string_view body) {
  const auto size = frame_size(fields.size(), body.size());
  CHECK(size <= UINT32_MAX);
  const auto start = out.size();
  base::Writer writer(out);
  writer.integer(static_cast<std::uint32_t>(size));
  writer.integer(static_cast<std::uint16_t>(type));
  writer.integer(kFormatVersion);
  writer.integer(static_cast<std::uint32_t>(fields.size()));
  writer.integer(name.epoch.value);
  writer.integer(name.sequence.value);
  writer.integer(name.flushed.value);
  writer.integer(name.skipped);
  writer.raw(fields);
  writer.raw(body);
  writer.integer(
      base::crc32c(std::string_view(out).substr(start), place_crc(segment, offset)));
}

std::optional<Frame> read_frame(std::string_view bytes, std::uint64_t segment,
                                std::uint64_t offset) {
  base::Reader reader(bytes);
  const auto size = reader.integer<std::uint32_t>();
  const auto type = reader.integer<std::uint16_t>();
  Frame frame;
  frame.version = reader.integer<std::uint16_t>();
  const auto fields = reader.integer<std::uint32_t>();
  frame.name.epoch = base::Epoch(reader.integer<std::uint64_t>());
  frame.name.sequence = base::SequenceNumber(reader.integer<std::uint64_t>());
  frame.name.flushed = base::SequenceNumber(reader.integer<std::uint64_t>());
  frame.name.skipped = reader.integer<std::uint32_t>();
  if (reader.failed() || size < kFrameOverhead || size > bytes.size()) return std::nullopt;
  if (fields > size - kFrameOverhead || type > static_cast<std::uint16_t>(kLastRecordType))
    return std::nullopt;
  const auto covered = bytes.substr(0, size - 4);
  base::Reader end(bytes.substr(size - 4, 4));
  if (end.integer<std::uint32_t>() != base::crc32c(covered, place_crc(segment, offset)))
    return std::nullopt;
  frame.type = static_cast<RecordType>(type);
  frame.fields = bytes.substr(kFrameHeader, fields);
  frame.body = covered.substr(kFrameHeader + fields);
  frame.size = size;
  return frame;
}

}  // namespace postern::queued
