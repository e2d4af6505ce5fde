// Ring: things that take turns, each in at most one ring at a time. It owns nothing; a member that dies
// must have left before. Pure.
#pragma once

#include "common/base/check.h"

namespace postern::queued {

// What a member of Ring<T> derives from.
template <class T>
class RingMember {
 public:
  RingMember() = default;
  RingMember(const RingMember&) = delete;
  RingMember& operator=(const RingMember&) = delete;
  ~RingMember() { CHECK(next_ == nullptr); }
  [[nodiscard]] bool in_ring() const { return next_ != nullptr; }

 private:
  template <class>
  friend class Ring;
  T* next_ = nullptr;
  T* previous_ = nullptr;
};

template <class T>
class Ring {
 public:
  [[nodiscard]] bool empty() const { return front_ == nullptr; }
  // Whose turn it is; null: the ring is empty.
  [[nodiscard]] T* front() const { return front_; }
  // The one behind, whatever follows the last; null at the ring's end.
  [[nodiscard]] T* after(const T& member) const {
    T* next = links(member).next_;
    return next == front_ ? nullptr : next;
  }
  void rotate() {
    if (front_ != nullptr) front_ = links(*front_).next_;
  }
  // The turn is this one's, which is in this ring; the others follow in their order.
  void begin_with(T& member) {
    CHECK(member.in_ring());
    front_ = &member;
  }
  // Its turn comes after all others'.
  void push(T& member) {
    CHECK(!member.in_ring());
    if (front_ == nullptr) {
      front_ = &member;
      links(member).next_ = links(member).previous_ = &member;
      return;
    }
    T& last = *links(*front_).previous_;
    links(member).next_ = front_;
    links(member).previous_ = &last;
    links(last).next_ = &member;
    links(*front_).previous_ = &member;
  }
  // One that is in this ring.
  void remove(T& member) {
    auto& own = links(member);
    CHECK(own.next_ != nullptr);
    if (own.next_ == &member) {
      front_ = nullptr;
    } else {
      links(*own.next_).previous_ = own.previous_;
      links(*own.previous_).next_ = own.next_;
      if (front_ == &member) front_ = own.next_;
    }
    own.next_ = own.previous_ = nullptr;
  }

 private:
  static RingMember<T>& links(T& member) { return member; }
  static const RingMember<T>& links(const T& member) { return member; }
  T* front_ = nullptr;
};

}  // namespace postern::queued
