#include "aten/Call.h"

#include <ATen/core/Tensor.h>

#include "aten/Infer.h"
#include "aten/Signature.h"
#include "driver.h"
#include "runtime/Allocator.h"
#include "runtime/Device.h"
#include "runtime/Exception.h"

#include <ATen/ops/_to_copy.h>

namespace remote {
namespace {

std::atomic<bool> blocking{false};
std::atomic<uint32_t> next_signature{1};

const at::Tensor& argument_tensor(const c10::IValue* arguments, int16_t argument, int32_t item) {
  return item < 0 ? arguments[argument].toTensor() : arguments[argument].toListRef()[item].toTensor();
}

// CUDA takes index tensors on the CPU. They are uploaded: few and small.
void upload_indices(c10::IValue* arguments, size_t count, c10::DeviceIndex device) {
  for (size_t position = 0; position < count; ++position) {
    if (!arguments[position].isOptionalTensorList()) {
      continue;
    }
    c10::List<std::optional<at::Tensor>> moved;
    for (const c10::IValue& item : arguments[position].toListRef()) {
      if (item.isTensor() && item.toTensor().defined() && item.toTensor().is_cpu()) {
        moved.push_back(item.toTensor().to(c10::Device(c10::kPrivateUse1, device)));
      } else {
        moved.push_back(item.isTensor() ? std::make_optional(item.toTensor()) : std::nullopt);
      }
    }
    arguments[position] = std::move(moved);
  }
}

[[noreturn]] void refuse(const Operator& op, const Key& key) {
  TORCH_CHECK(
      false,
      "Expected all tensors to be on the same device, but found at least two devices, remote:",
      static_cast<int>(key.device),
      " and ",
      key.foreign->device(),
      "! (when checking the arguments of ",
      op.full_name,
      ")");
}

void build_key(Operator& op, Key& key, c10::IValue* arguments) {
  key.build(op, arguments);
  if (C10_UNLIKELY(key.foreign != nullptr)) {
    if (op.uploads_indices) {
      upload_indices(arguments, op.arguments, key.device);
      key.build(op, arguments);
    }
    if (key.foreign != nullptr) {
      refuse(op, key);
    }
  }
}

at::Tensor make_output(const Output& output, const c10::IValue* arguments, c10::DeviceIndex device, uint64_t& next_id) {
  switch (output.kind) {
    case OutputKind::Fresh:
      return at::Tensor(make_tensor(next_id++, output.bytes, device, output.dtype, output.sizes, output.strides));
    case OutputKind::Alias: {
      const at::Tensor& source = argument_tensor(arguments, output.argument, output.item);
      auto view = at::detail::make_tensor<c10::TensorImpl>(
          c10::TensorImpl::VIEW, c10::Storage(source.storage()), source.key_set(), c10::scalarTypeToTypeMeta(output.dtype));
      view.unsafeGetTensorImpl()->set_sizes_and_strides(output.sizes, output.strides, output.offset);
      return view;
    }
    case OutputKind::Argument:
      return argument_tensor(arguments, output.argument, -1);
    case OutputKind::Undefined:
      break;
  }
  return {};
}

c10::IValue make_return(const ReturnValue& value, const c10::IValue* arguments, c10::DeviceIndex device, uint64_t& next_id) {
  if (!value.is_list) {
    const Output& output = value.outputs[0];
    if (output.kind == OutputKind::Argument) {
      return arguments[output.argument];
    }
    return make_output(output, arguments, device, next_id);
  }
  c10::List<at::Tensor> list;
  list.reserve(value.outputs.size());
  for (const Output& output : value.outputs) {
    list.push_back(make_output(output, arguments, device, next_id));
  }
  return list;
}

void define(const Operator& op, const Entry& entry, const Key& key, const c10::IValue* arguments) {
  const Signature signature(op, arguments, &entry);
  check(tr_define(key.device, entry.signature, signature.get()));
}

// Sends the call. Its fresh outputs have ids `first_output` and up: made after it has been sent, so that a call that is refused
// frees nothing the executor never had.
void send(const Operator& op, const Entry& entry, const Key& key, const c10::IValue* arguments, uint64_t first_output) {
  tr_call_args call{};
  call.nviews = static_cast<uint32_t>(key.storages.size());
  call.storages = key.storages.data();
  call.offsets = key.offsets.data();
  call.nfloats = static_cast<uint32_t>(key.floats.size());
  call.floats = key.floats.data();
  call.nscalars = static_cast<uint32_t>(key.scalars.size());
  call.scalars = key.scalars.data();
  call.first_output = first_output;
  if (op.random) {
    const RandomState state = next_random(key);
    call.seed = state.seed;
    call.count = state.count;
  }
  tr_status status = tr_call(key.device, entry.signature, &call);
  while (C10_UNLIKELY(status == TR_UNDEFINED_SIGNATURE)) {
    define(op, entry, key, arguments);
    status = tr_call(key.device, entry.signature, &call);
  }
  check(status);
}

void issue(const Operator& op, const Entry& entry, const Key& key, Stack* stack) {
  c10::IValue* arguments = stack->data() + (stack->size() - op.arguments);
  const uint64_t first_output = entry.fresh != 0 ? tr_storage_ids(entry.fresh) : 0;
  // Before the call and not by it: when the operator fails, both sides still agree on the storage, and a whole write clears the failure.
  for (const Resized& resized : entry.resized) {
    grow_storage(argument_tensor(arguments, resized.argument, resized.item), resized.sizes, resized.strides, /*tell=*/true);
  }
  send(op, entry, key, arguments, first_output);
  for (const Resized& resized : entry.resized) {
    resize_tensor(argument_tensor(arguments, resized.argument, resized.item), resized.sizes, resized.strides, /*tell=*/false);
  }
  uint64_t next_id = first_output;
  c10::SmallVector<c10::IValue, 3> results;
  for (const ReturnValue& value : entry.returns) {
    results.push_back(make_return(value, arguments, key.device, next_id));
  }
  torch::jit::drop(*stack, op.arguments);
  for (c10::IValue& result : results) {
    stack->push_back(std::move(result));
  }
}

} // namespace

void call(Operator& op, Stack* stack) {
  KeyScope scope;
  Key& key = *scope;
  c10::IValue* arguments = stack->data() + (stack->size() - op.arguments);
  build_key(op, key, arguments);
  if (C10_UNLIKELY(op.always_now || (op.now_on_cpu && key.device_kind == TR_KIND_CPU))) {
    check_device(key.device);
    return call_now(op, key, stack);
  }
  const uint64_t hash = key.hash();
  std::shared_ptr<const Entry> entry = op.cache.find(hash, key.words);
  if (C10_LIKELY(entry != nullptr)) {
    counters().hits.fetch_add(1, std::memory_order_relaxed);
  } else {
    check_device(key.device);
    op.misses.fetch_add(1, std::memory_order_relaxed);
    std::shared_ptr<Entry> inferred = infer(op, c10::ArrayRef<c10::IValue>(arguments, op.arguments), key);
    if (inferred == nullptr) {
      return call_now(op, key, stack);
    }
    inferred->signature = next_signature.fetch_add(1, std::memory_order_relaxed);
    entry = inferred;
    const bool cached = !inferred->key.empty();
    (cached ? counters().misses : counters().uncached).fetch_add(1, std::memory_order_relaxed);
    if (cached) {
      op.cache.insert(hash, entry);
    }
  }
  issue(op, *entry, key, stack);
  if (C10_UNLIKELY(blocking.load(std::memory_order_relaxed))) {
    wait_if_blocking(key.device);
  }
}

void wait_if_blocking(c10::DeviceIndex device) {
  if (blocking.load(std::memory_order_relaxed)) {
    check(tr_synchronize(device));
  }
}

RandomState next_random(const Key& key) {
  if (key.generator != nullptr) {
    return key.generator->next();
  }
  return static_cast<Generator*>(default_generator(key.device).unsafeGetGeneratorImpl())->next();
}

Counters& counters() {
  static Counters instance;
  return instance;
}

namespace {

uint64_t python_metas() {
  uint64_t sum = 0;
  for_each_operator([](Operator& op, void* into) { *static_cast<uint64_t*>(into) += op.python_metas.load(); }, &sum);
  return sum;
}

struct MissReader {
  trd_miss_fn each;
  void* context;
};

} // namespace
} // namespace remote

// SAFETY: `out` is a valid pointer.
extern "C" void trd_counters_read(trd_counters* out) {
  const remote::Counters& counters = remote::counters();
  out->hits = counters.hits.load();
  out->misses = counters.misses.load();
  out->python_metas = remote::python_metas();
  out->calls_now = counters.calls_now.load();
  out->uncached = counters.uncached.load();
  out->operators = out->hits + out->misses + out->uncached + out->calls_now;
  out->reads = counters.reads.load();
  out->writes = counters.writes.load();
  out->cache_entries = remote::Cache::total();
}

// SAFETY: no duties.
extern "C" void trd_counters_reset(void) {
  remote::Counters& counters = remote::counters();
  for (std::atomic<uint64_t>* counter :
       {&counters.hits, &counters.misses, &counters.uncached, &counters.calls_now, &counters.reads, &counters.writes}) {
    counter->store(0);
  }
  remote::for_each_operator(
      [](remote::Operator& op, void*) {
        op.misses.store(0);
        op.python_metas.store(0);
        op.calls_now.store(0);
      },
      nullptr);
}

// SAFETY: `each` does not throw.
extern "C" void trd_misses_read(trd_miss_fn each, void* context) {
  remote::MissReader reader{each, context};
  remote::for_each_operator(
      [](remote::Operator& op, void* into) {
        const uint64_t misses = op.misses.load();
        const uint64_t calls_now = op.calls_now.load();
        if (misses + calls_now != 0) {
          const auto* reader = static_cast<remote::MissReader*>(into);
          reader->each(reader->context, op.full_name.c_str(), misses, op.python_metas.load(), calls_now);
        }
      },
      &reader);
}

// SAFETY: no duties.
extern "C" void trd_set_blocking(int on) {
  remote::blocking.store(on != 0);
}
