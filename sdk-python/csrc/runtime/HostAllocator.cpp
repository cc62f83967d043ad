#include "runtime/HostAllocator.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace remote {
namespace {

constexpr size_t kPage = 4096;

// Live ranges by their start. Leaked on purpose: tensors may outlive the library's destructors.
struct Ranges {
  std::mutex mutex;
  std::map<uintptr_t, size_t> bytes_at;
};

Ranges& ranges() {
  static auto* instance = new Ranges;
  return *instance;
}

void release(void* pointer) {
  {
    const std::lock_guard<std::mutex> lock(ranges().mutex);
    ranges().bytes_at.erase(reinterpret_cast<uintptr_t>(pointer));
  }
  std::free(pointer);
}

class HostAllocator final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) {
      return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    }
    void* pointer = nullptr;
    if (posix_memalign(&pointer, kPage, bytes) != 0) {
      throw std::bad_alloc();
    }
    const std::lock_guard<std::mutex> lock(ranges().mutex);
    ranges().bytes_at.emplace(reinterpret_cast<uintptr_t>(pointer), bytes);
    return {pointer, pointer, &release, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override {
    return &release;
  }

  void copy_data(void* destination, const void* source, std::size_t count) const override {
    default_copy_data(destination, source, count);
  }

  // A write copies its bytes before it returns: the memory is free for reuse at once.
  bool record_event(void*, void*, c10::Stream) override {
    return true;
  }

  void empty_cache() override {}

  at::HostStats get_stats() override {
    at::HostStats stats;
    const std::lock_guard<std::mutex> lock(ranges().mutex);
    for (const auto& [start, bytes] : ranges().bytes_at) {
      stats.allocated_bytes.current += static_cast<int64_t>(bytes);
    }
    return stats;
  }

  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}
};

} // namespace

at::HostAllocator& host_allocator() {
  static auto* instance = new HostAllocator;
  return *instance;
}

bool is_host_allocation(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const std::lock_guard<std::mutex> lock(ranges().mutex);
  auto after = ranges().bytes_at.upper_bound(address);
  if (after == ranges().bytes_at.begin()) {
    return false;
  }
  --after;
  return address < after->first + after->second;
}

} // namespace remote
