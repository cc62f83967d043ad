// The signatures of one operator: what it answers (shapes, dtypes, views) for arguments of known metadata.
#pragma once

#include <c10/core/ScalarType.h>
#include <c10/util/DimVector.h>
#include <c10/util/SmallVector.h>
#include <c10/util/flat_hash_map.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace remote {

enum class OutputKind : uint8_t { Fresh, Alias, Argument, Undefined };

struct Output {
  OutputKind kind = OutputKind::Undefined;
  c10::ScalarType dtype = c10::ScalarType::Undefined;
  int16_t argument = -1; // Argument: its position; Alias: position of the argument it is a view of
  int32_t item = -1;     // Alias: index in that argument, when it is a list
  uint32_t slot = 0;     // Alias: index among the call's tensors
  int64_t offset = 0;    // Alias: in elements
  uint64_t bytes = 0;    // Fresh: of the new storage
  c10::DimVector sizes;
  c10::DimVector strides;
};

struct ReturnValue {
  bool is_list = false;
  c10::SmallVector<Output, 1> outputs;
};

// An out= argument that the call resizes.
struct Resized {
  int16_t argument;
  int32_t item; // index in that argument when it is a list, else -1
  uint32_t slot;
  c10::DimVector sizes;
  c10::DimVector strides;
};

struct Entry {
  uint32_t signature = 0; // number on the wire
  uint32_t fresh = 0;     // outputs with a storage of their own
  std::vector<uint64_t> key;
  c10::SmallVector<ReturnValue, 2> returns;
  std::vector<Resized> resized;
  mutable std::atomic<uint64_t> used{0};
};

// Bounded: an operator keeps at most kMaxEntries, all operators together about kMaxTotal. Beyond that its less recently used half is
// forgotten, here and on the executors.
class Cache {
 public:
  static constexpr size_t kMaxEntries = 4096;
  static constexpr size_t kMaxTotal = 65536;

  std::shared_ptr<const Entry> find(uint64_t hash, const std::vector<uint64_t>& key);
  void insert(uint64_t hash, std::shared_ptr<const Entry> entry);
  static uint64_t total();

 private:
  void evict();

  std::mutex mutex_;
  ska::flat_hash_map<uint64_t, std::shared_ptr<const Entry>> entries_;
  uint64_t clock_ = 0;
};

} // namespace remote
