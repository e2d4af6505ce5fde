#include "smtpd/body_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/utf8.h"
#include "common/log/log.h"

namespace postern::smtpd {
namespace {

constexpr std::uint64_t kPiece = 4 << 20;

}  // namespace

BodyStore::BodyStore(QueueLink& link, BodyBudget& budget, event::Callback resumed)
    : link_(link), share_(budget), resumed_(std::move(resumed)) {}

BodyStore::~BodyStore() {
  clear();
}

std::optional<mail::Reply> BodyStore::failure() const {
  if (failed_) return mail::Reply{452, {4, 3, 1}, {"Insufficient system storage"}};
  if (file_.fd.valid() && !link_.holds(file_))
    return mail::Reply{451, {4, 3, 0}, {"The message was lost on its way; please try again"}};
  return std::nullopt;
}

Flow BodyStore::add(std::string_view bytes) {
  size_ += bytes.size();
  if (failed_) return Flow::kMore;
  if (file_.fd.valid()) {
    write(bytes);
    return Flow::kMore;
  }
  memory_.append(bytes);
  if (opening_) return Flow::kPause;
  if (memory_.size() <= ipc::kMaxInlineBody && share_.grow_to(memory_.size())) return Flow::kMore;
  move_to_file();
  return Flow::kPause;
}

void BodyStore::move_to_file() {
  opening_ = true;
  link_.open_large([this, &link = link_, round = std::weak_ptr(round_),
                    expected = *round_](QueueLink::LargeFile file) noexcept {
    const auto alive = round.lock();
    if (!alive || *alive != expected)  // the session or its transaction has ended meanwhile
      link.abandon_large(file);
    else
      on_file(std::move(file));
  });
}

void BodyStore::on_file(QueueLink::LargeFile file) noexcept {
  opening_ = false;
  file_ = std::move(file);
  failed_ = !file_.fd.valid();
  write(memory_);
  drop_memory();
  resumed_();
}

void BodyStore::write(std::string_view bytes) {
  eight_bit_ = eight_bit_ || !base::is_ascii(bytes);
  while (!failed_ && !bytes.empty()) {
    const ssize_t put = ::write(file_.fd.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      (void)log::warning("body.failed").field("reason", ::strerrordesc_np(errno));
      failed_ = true;
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  if (size_ - flushing_ >= kPiece) begin_flush();
}

// The disk writes while the client sends, and while queued reads what came: whoever seals the file at its end
// has less to wait for. Only a wish.
void BodyStore::begin_flush() {
  (void)::sync_file_range(file_.fd.get(), static_cast<off64_t>(flushing_),
                          static_cast<off64_t>(size_ - flushing_), SYNC_FILE_RANGE_WRITE);
  flushing_ = size_;
}

void BodyStore::move_to(Submission& submission) {
  submission.body_size = size_;
  if (file_.fd.valid()) {
    submission.large = file_.name;
    // Whoever sends it on need not read it to know (RFC 6152 3), though its client did not say so.
    submission.envelope.eight_bit = submission.envelope.eight_bit || eight_bit_;
    begin_flush();
    file_.fd.reset();  // no writer may be left when queued looks at it
  } else {
    submission.body = std::move(memory_);
    submission.share = std::move(share_);
  }
  file_ = {};
  clear();
}

void BodyStore::clear() {
  if (file_.fd.valid()) {
    file_.fd.reset();
    link_.abandon_large(file_);
  }
  file_ = {};
  drop_memory();
  size_ = flushing_ = 0;
  opening_ = failed_ = eight_bit_ = false;
  ++*round_;
}

void BodyStore::drop_memory() noexcept {
  share_.give_back();
  std::string().swap(memory_);
}

}  // namespace postern::smtpd
