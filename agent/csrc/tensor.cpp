#include "tensor.h"
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/headeronly/version.h>
#include <dlfcn.h>
#include <malloc.h>
#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>

namespace trb {
namespace {

thread_local std::string last_error;
c10::Device current_device{c10::kCPU};
c10::Allocator* device_allocator = nullptr;

// PyTorch's CPU allocator with a count and a ceiling: temporaries of kernels count as well.
class LimitedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const uint64_t ceiling = limit.load(std::memory_order_relaxed);
    const uint64_t now = used.load(std::memory_order_relaxed);
    if (ceiling != 0 && (now > ceiling || bytes > ceiling - now)) {
      TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory: ", bytes, " bytes were asked for, ", now,
                       " are in use and the lease may use ", ceiling, ". Free tensors, or lease more memory");
    }
    void* address = c10::alloc_cpu(bytes);
    used.fetch_add(malloc_usable_size(address), std::memory_order_relaxed);
    return {address, address, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* destination, const void* source, size_t bytes) const override { default_copy_data(destination, source, bytes); }

  static void release(void* address) {
    used.fetch_sub(malloc_usable_size(address), std::memory_order_relaxed);
    c10::free_cpu(address);
  }
  static std::atomic<uint64_t> used, limit;
};
std::atomic<uint64_t> LimitedAllocator::used{0};
std::atomic<uint64_t> LimitedAllocator::limit{0};

bool contains(const char* text, const char* part) { return std::strstr(text, part) != nullptr; }

bool device_lost() {
  try {
    c10::impl::VirtualGuardImpl(current_device.type()).synchronizeDevice(current_device.index());
    return false;
  } catch (...) {
    return true;
  }
}

int class_of(const c10::Error& error, int otherwise) {
  const char* text = error.what_without_backtrace();
  set_error(text);
  // The host allocator reports exhaustion as a plain error.
  if (otherwise == 1 && contains(text, "DefaultCPUAllocator: can't allocate memory")) return 6;
  // CUDA's libraries say this of refused arguments as well: what is lost cannot be waited for.
  if (otherwise == 1 && current_device.is_cuda() && contains(text, "CUDA error") && device_lost()) return TRB_FATAL;
  return otherwise;
}

}  // namespace

c10::Device device() { return current_device; }

void set_error(const char* text) { last_error = text; }

int classify() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& e) {
    return class_of(e, 6);
  } catch (const c10::IndexError& e) {
    return class_of(e, 2);
  } catch (const c10::ValueError& e) {
    return class_of(e, 3);
  } catch (const c10::TypeError& e) {
    return class_of(e, 4);
  } catch (const c10::NotImplementedError& e) {
    return class_of(e, 5);
  } catch (const c10::LinAlgError& e) {
    return class_of(e, 7);
  } catch (const c10::Error& e) {
    return class_of(e, 1);
  } catch (const std::bad_alloc&) {
    set_error("out of memory on the executor's host");
    return 6;
  } catch (const std::exception& e) {
    set_error(e.what());
    return 1;
  } catch (...) {
    set_error("the operator threw something that is no exception");
    return 1;
  }
}

Meta::Meta(const trb_meta& meta)
    : dtype(static_cast<c10::ScalarType>(meta.dtype)), flags(meta.flags), sizes(meta.sizes, meta.sizes + meta.ndim),
      strides(meta.strides, meta.strides + meta.ndim), numel(1), last(0), contiguous(true), dense(true) {
  TORCH_CHECK_TYPE(meta.dtype < static_cast<uint8_t>(c10::ScalarType::NumOptions) && dtype != c10::ScalarType::Undefined && !c10::isQIntType(dtype),
                   "dtype number ", static_cast<int>(meta.dtype), " is not one this executor holds");
  type = c10::scalarTypeToTypeMeta(dtype);
  item = static_cast<int64_t>(type.itemsize());
  bool overflow = false;
  for (size_t i = 0; i < sizes.size(); i++) {
    TORCH_CHECK_VALUE(sizes[i] >= 0 && strides[i] >= 0, "sizes and strides must not be negative");
    overflow |= __builtin_mul_overflow(numel, sizes[i], &numel);
    int64_t reach = 0;
    overflow |= sizes[i] > 0 && (__builtin_mul_overflow(sizes[i] - 1, strides[i], &reach) || __builtin_add_overflow(last, reach, &last));
  }
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) {
    numel = 0;
    last = -1;
    overflow = false;
  }
  int64_t bytes = 0, end = 0;
  overflow |= __builtin_add_overflow(last, 1, &end) || __builtin_mul_overflow(end, item, &end);
  TORCH_CHECK_VALUE(!overflow && !__builtin_mul_overflow(numel, item, &bytes), "the shape overflows 64 bits");

  int64_t expected = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] == 1) continue;
    contiguous &= strides[i] == expected || numel == 0;
    expected *= sizes[i];
  }
  // Dense: sorted by stride, each dimension starts where the one before ends.
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return strides[a] < strides[b]; });
  expected = 1;
  for (size_t i : order) {
    if (sizes[i] == 1) continue;
    dense &= strides[i] == expected || numel == 0;
    expected *= sizes[i];
  }
}

bool Meta::same_layout(c10::IntArrayRef other_sizes, c10::IntArrayRef other_strides) const {
  if (other_sizes != c10::IntArrayRef(sizes)) return false;
  if (numel == 0) return true;
  for (size_t i = 0; i < sizes.size(); i++)
    if (sizes[i] != 1 && strides[i] != other_strides[i]) return false;
  return true;
}

void check_inside(const Meta& meta, const c10::StorageImpl* storage, int64_t offset) {
  int64_t end = 0;
  const bool overflow = offset < 0 || __builtin_add_overflow(offset, meta.last + 1, &end) || __builtin_mul_overflow(end, meta.item, &end);
  TORCH_CHECK_INDEX(!overflow && (meta.numel == 0 || static_cast<uint64_t>(end) <= storage->nbytes()), "a view of sizes ", c10::IntArrayRef(meta.sizes), ", strides ",
                    c10::IntArrayRef(meta.strides), " and offset ", offset, " of ", meta.dtype, " does not lie inside its storage of ", storage->nbytes(), " bytes");
}

at::Tensor view(const Meta& meta, c10::StorageImpl* storage, int64_t offset) {
  check_inside(meta, storage, offset);
  static const c10::DispatchKeySet cpu{c10::DispatchKey::CPU}, cuda{c10::DispatchKey::CUDA};
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage)),
                                                         current_device.is_cpu() ? cpu : cuda, meta.type);
  auto* self = tensor.unsafeGetTensorImpl();
  self->set_sizes_and_strides(meta.sizes, meta.strides, offset);
  if (meta.flags != 0) {
    if (meta.flags & 1) self->set_wrapped_number(true);
    if (meta.flags & 2) self->_set_conj(true);
    if (meta.flags & 4) self->_set_neg(true);
  }
  return tensor;
}

c10::intrusive_ptr<c10::StorageImpl> new_storage(uint64_t bytes) {
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), static_cast<size_t>(bytes), device_allocator->allocate(bytes), device_allocator,
                                               /*resizable=*/true);
}

}  // namespace trb

using namespace trb;

extern "C" {

// SAFETY: none.
const char* trb_error_message(void) { return last_error.c_str(); }

// SAFETY: none.
const char* trb_torch_version(void) { return TORCH_VERSION; }

// SAFETY: called once, before any other function that touches torch.
int trb_begin(int cuda, int threads) {
  return guard([&] {
    static LimitedAllocator limited;
    if (cuda) {
      // Before anything asks for CUDA's hooks: they are looked up once, and cached as absent for good.
      TORCH_CHECK(dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr, "cannot open libtorch_cuda.so: ", dlerror(),
                  ". Install the CUDA build of torch beside the agent");
      at::globalContext().lazyInitDevice(c10::kCUDA);
      current_device = c10::Device(c10::kCUDA, 0);
      device_allocator = c10::GetAllocator(c10::kCUDA);
    } else {
      c10::SetCPUAllocator(&limited, /*priority=*/1);
      device_allocator = &limited;
    }
    if (threads > 0) at::set_num_threads(threads);
    // The first operator initialises the dispatcher and the device.
    auto one = at::empty({1}, at::TensorOptions().device(current_device)).fill_(1);
    TORCH_CHECK(one.add(one).item<float>() == 2, "the device gives a wrong sum");
  });
}

// SAFETY: called once, on the thread that will run operators.
void trb_thread_begin(void) {
  thread_local c10::InferenceMode inference(true);
  static_cast<void>(inference);
}

// SAFETY: none.
void trb_limit(uint64_t bytes) { LimitedAllocator::limit = bytes; }
// SAFETY: none.
uint64_t trb_allocated(void) { return LimitedAllocator::used; }

// SAFETY: after trb_begin.
int trb_synchronize(void) {
  if (current_device.is_cpu()) return 0;
  return guard([] { c10::impl::VirtualGuardImpl(current_device.type()).synchronizeDevice(current_device.index()); });
}

// SAFETY: both point to writable integers.
void trb_device_memory(uint64_t* total, uint64_t* unused) {
  *total = *unused = 0;
  if (current_device.is_cpu()) return;
  // cudaMemGetInfo without a link to CUDA: libtorch_cuda brought the runtime in.
  using Query = int (*)(size_t*, size_t*);
  if (auto query = reinterpret_cast<Query>(dlsym(RTLD_DEFAULT, "cudaMemGetInfo"))) {
    size_t free_bytes = 0, all_bytes = 0;
    if (query(&free_bytes, &all_bytes) == 0) {
      *total = all_bytes;
      *unused = free_bytes;
    }
  }
}

// SAFETY: after trb_begin; `out` is writable, and on success holds a reference that the caller releases once.
int trb_storage_new(uint64_t bytes, trb_storage** out) {
  return guard([&] { *out = hand_over(new_storage(bytes)); });
}

// SAFETY: `storage` is a reference of the caller's, who uses it no more.
void trb_storage_release(trb_storage* storage) {
  c10::intrusive_ptr<c10::StorageImpl>::reclaim(impl(storage));
}

// SAFETY: `storage` is a live reference.
uint64_t trb_storage_bytes(const trb_storage* storage) { return impl(storage)->nbytes(); }

// SAFETY: `storage` is a live reference that no operator uses now.
int trb_storage_resize(trb_storage* storage, uint64_t bytes) {
  return guard([&] {
    auto next = new_storage(bytes);
    const size_t common = std::min<size_t>(bytes, impl(storage)->nbytes());
    if (common != 0) {
      const int64_t size = static_cast<int64_t>(common), stride = 1;
      const Meta prefix(trb_meta{static_cast<uint8_t>(c10::ScalarType::Byte), 0, 1, &size, &stride});
      view(prefix, next.get(), 0).copy_(view(prefix, impl(storage), 0));
    }
    impl(storage)->set_data_ptr_noswap(next->set_data_ptr(c10::DataPtr(nullptr, current_device)));
    impl(storage)->set_nbytes(bytes);
  });
}

// SAFETY: `storage` is live; `meta` has `ndim` sizes and strides; `data` has `bytes` readable bytes that do not change meanwhile.
int trb_write(trb_storage* storage, int64_t offset, const trb_meta* meta, const uint8_t* data, uint64_t bytes) {
  return guard([&] {
    const Meta m(*meta);
    TORCH_CHECK_VALUE(static_cast<uint64_t>(m.bytes()) == bytes, "the view takes ", m.bytes(), " bytes and ", bytes, " came");
    auto destination = view(m, impl(storage), offset);
    if (bytes == 0) return;
    if (current_device.is_cpu() && m.contiguous && (m.flags & 6) == 0) {
      std::memcpy(destination.mutable_data_ptr(), data, bytes);
      return;
    }
    // copy_ without non_blocking returns when `data` has been read.
    destination.copy_(at::from_blob(const_cast<uint8_t*>(data), m.sizes, at::TensorOptions().dtype(m.dtype)));
  });
}

// SAFETY: `storage` is live; `meta` has `ndim` sizes and strides; `data` has room for `bytes` bytes.
int trb_read(trb_storage* storage, int64_t offset, const trb_meta* meta, uint8_t* data, uint64_t bytes) {
  return guard([&] {
    const Meta m(*meta);
    TORCH_CHECK_VALUE(static_cast<uint64_t>(m.bytes()) == bytes, "the view has ", m.bytes(), " bytes and ", bytes, " were asked for");
    auto source = view(m, impl(storage), offset);
    if (bytes == 0) return;
    if (current_device.is_cpu() && m.contiguous && (m.flags & 6) == 0) {
      std::memcpy(data, source.const_data_ptr(), bytes);
      return;
    }
    // copy_ without non_blocking returns when the bytes are there.
    at::from_blob(data, m.sizes, at::TensorOptions().dtype(m.dtype)).copy_(source);
  });
}

// SAFETY: `storage` is live; `meta` has `ndim` sizes and strides; the rest points to writable integers.
int trb_measure(const trb_storage* storage, int64_t offset, const trb_meta* meta, uint64_t* bytes, int* contiguous, int64_t* covers) {
  return guard([&] {
    const Meta m(*meta);
    check_inside(m, impl(storage), offset);
    *bytes = static_cast<uint64_t>(m.bytes());
    *contiguous = m.contiguous && (m.flags & 6) == 0;
    *covers = m.dense && offset == 0 ? m.bytes() : -1;
  });
}

}  // extern "C"
