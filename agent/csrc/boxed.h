// The c10 dispatcher behind a C interface: what the executor's Rust needs of PyTorch, and nothing else.
//
// Owns conversion of wire arguments to IValues, checks of views and results, and storages. Leaves ids, poison and order to Rust.
// Every function that can fail returns 0 or an error class (ErrorClass of dataplane.proto, or TRB_FATAL) and puts the text into
// trb_error_message(). No exception crosses. trb_run, trb_run_now, trb_read and trb_write are called from the one thread that
// called trb_thread_begin(); trb_storage_release from any.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TRB_FATAL = 100 };  // the device is lost (a CUDA fault): the process must end

typedef struct trb_storage trb_storage;      // a c10::StorageImpl, one reference owned by whoever holds the pointer
typedef struct trb_signature trb_signature;  // a prepared signature
typedef struct trb_now trb_now;              // results of trb_run_now

// The calling thread's last error, NUL-terminated; valid until its next call.
const char* trb_error_message(void);

// Version of torch this was compiled with.
const char* trb_torch_version(void);

// Once, before anything else touches torch. `cuda`: open libtorch_cuda first, use device 0; else CPU.
// `threads` intra-op threads, 0 = torch's choice.
int trb_begin(int cuda, int threads);
// Once, on the executor thread: InferenceMode from here on.
void trb_thread_begin(void);
// Bytes of host memory all tensors may take together, temporaries of kernels included; 0 = no limit. CPU only. On CUDA a lease is limited by the sum of its
// storages' sizes, which Rust keeps: kernels' temporaries and the allocator's cache are not counted. PyTorch's own ceiling, CUDAAllocator::setMemoryFraction, is
// a virtual function of a class whose header needs CUDA's, which this is not built with; c10::DeviceAllocator, which needs none, has no such function.
void trb_limit(uint64_t bytes);
uint64_t trb_allocated(void);
// Waits for the device. TRB_FATAL when it is lost.
int trb_synchronize(void);
// Device memory: total and free bytes (CUDA), or 0.
void trb_device_memory(uint64_t* total, uint64_t* unused);

// ---- storages
int trb_storage_new(uint64_t bytes, trb_storage** out);
void trb_storage_release(trb_storage* storage);
uint64_t trb_storage_bytes(const trb_storage* storage);
int trb_storage_resize(trb_storage* storage, uint64_t bytes);  // keeps the common prefix

typedef struct trb_meta {
  uint8_t dtype;   // c10::ScalarType
  uint8_t flags;   // 1 wrapped number, 2 conjugate, 4 negative
  uint32_t ndim;
  const int64_t* sizes;
  const int64_t* strides;
} trb_meta;
// `bytes` = numel x item size, contiguous, in the view's logical order.
int trb_write(trb_storage* storage, int64_t offset, const trb_meta* meta, const uint8_t* data, uint64_t bytes);
int trb_read(trb_storage* storage, int64_t offset, const trb_meta* meta, uint8_t* data, uint64_t bytes);
// Bytes of a contiguous copy of the view, whether it lies in its storage contiguously, and the bytes of storage that it covers
// without a gap when its offset is 0 (-1 = it does not cover any prefix). Fails when `meta` makes no tensor or the view does not fit.
int trb_measure(const trb_storage* storage, int64_t offset, const trb_meta* meta, uint64_t* bytes, int* contiguous, int64_t* covers);

// ---- signatures. Kinds and their numbers: proto/README.md.
typedef struct trb_arg {
  uint8_t kind;
  uint32_t len;
  int64_t i;
  double d;
  trb_meta tensor;
  const void* p;   // int64_t[len] | double[len] | uint8_t[len] (bools) | char[len] | trb_arg[len]
} trb_arg;
typedef struct trb_output {
  uint8_t kind;    // 0 fresh, 1 alias, 2 argument, 3 undefined, 4 list
  uint32_t slot;   // tensor slot (alias) or position (argument)
  int64_t offset;
  uint64_t bytes;
  trb_meta meta;
  uint32_t len;
  const struct trb_output* items;
} trb_output;
typedef struct trb_resized { uint32_t slot; trb_meta meta; } trb_resized;
typedef struct trb_description {
  const char* name;
  const char* overload;
  const trb_arg* args; uint32_t nargs;
  const trb_output* outputs; uint32_t noutputs;
  const trb_resized* resized; uint32_t nresized;
  uint8_t now;     // for trb_run_now: outputs are not given
  uint8_t random;
  uint8_t default_dtype;  // c10::ScalarType that kernels take where nothing else says one
} trb_description;
// How a tensor slot is used, for poison.
typedef struct trb_slot {
  uint8_t reads, writes;
  int64_t covers;  // of a slot that is written and not read: bytes of storage covered without a gap at offset 0; else -1
} trb_slot;

int trb_prepare(const trb_description* description, trb_signature** out);
void trb_signature_free(trb_signature* signature);
uint32_t trb_signature_slots(const trb_signature* signature, const trb_slot** slots);

typedef struct trb_call {
  trb_storage* const* storages;  // one per tensor slot
  const int64_t* offsets;
  const double* floats;
  const uint8_t* scalars;        // 16 bytes each
  uint64_t seed;                 // for random signatures: seeds the generator
} trb_call;
// Runs it. `fresh[k]` receives the k-th new storage (owned by the caller). After a failure nothing is in `fresh`.
int trb_run(trb_signature* signature, const trb_call* call, trb_storage** fresh);

typedef struct trb_result_tensor {
  uint8_t undefined, dtype;
  int32_t slot;                  // tensor slot whose storage it shares, or -1
  uint32_t fresh;                // else number of its new storage
  uint32_t ndim;
  const int64_t* sizes;
  const int64_t* strides;
  int64_t offset;
  uint64_t storage_bytes;
} trb_result_tensor;
typedef struct trb_value {
  uint8_t kind;                  // tr_value_kind of driver.h
  uint32_t len;
  int64_t i;
  double d, im;
  const char* text;
  const int64_t* ints;
  const trb_result_tensor* tensors;
} trb_value;
typedef struct trb_now_resized { uint32_t slot, ndim; const int64_t* sizes; const int64_t* strides; uint64_t storage_bytes; } trb_now_resized;
// `fresh` storages pass to the caller; all else is valid until trb_now_free.
typedef struct trb_now_view {
  const trb_value* values; uint32_t nvalues;
  trb_storage* const* fresh; uint32_t nfresh;
  const trb_now_resized* resized; uint32_t nresized;
} trb_now_view;
int trb_run_now(trb_signature* signature, const trb_call* call, trb_now** out, trb_now_view* view);
void trb_now_free(trb_now* now);

#ifdef __cplusplus
}
#endif
