#include "aten/Cache.h"

#include <algorithm>
#include <cstring>

#include "driver.h"

namespace remote {
namespace {

std::atomic<uint64_t> total_entries{0};

} // namespace

std::shared_ptr<const Entry> Cache::find(uint64_t hash, const std::vector<uint64_t>& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find(hash);
  if (found == entries_.end()) {
    return nullptr;
  }
  const Entry& entry = *found->second;
  if (entry.key.size() != key.size() || std::memcmp(entry.key.data(), key.data(), key.size() * sizeof(uint64_t)) != 0) {
    return nullptr;
  }
  entry.used.store(++clock_, std::memory_order_relaxed);
  return found->second;
}

void Cache::insert(uint64_t hash, std::shared_ptr<const Entry> entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool full = entries_.size() >= kMaxEntries || (total_entries.load(std::memory_order_relaxed) >= kMaxTotal && entries_.size() >= 64);
  if (full) {
    evict();
  }
  entry->used.store(++clock_, std::memory_order_relaxed);
  std::shared_ptr<const Entry>& place = entries_[hash];
  if (place != nullptr) {
    tr_forget(place->signature);
  } else {
    total_entries.fetch_add(1, std::memory_order_relaxed);
  }
  place = std::move(entry);
}

uint64_t Cache::total() {
  return total_entries.load(std::memory_order_relaxed);
}

// A thread that holds an entry forgotten here defines it again: tr_call says that it is undefined.
void Cache::evict() {
  std::vector<uint64_t> ages;
  ages.reserve(entries_.size());
  for (const auto& [hash, entry] : entries_) {
    ages.push_back(entry->used.load(std::memory_order_relaxed));
  }
  const auto middle = ages.begin() + static_cast<std::ptrdiff_t>(ages.size() / 2);
  std::nth_element(ages.begin(), middle, ages.end());
  const uint64_t oldest_kept = *middle;
  uint64_t removed = 0;
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->second->used.load(std::memory_order_relaxed) < oldest_kept) {
      tr_forget(at->second->signature);
      at = entries_.erase(at);
      ++removed;
    } else {
      ++at;
    }
  }
  total_entries.fetch_sub(removed, std::memory_order_relaxed);
}

} // namespace remote
