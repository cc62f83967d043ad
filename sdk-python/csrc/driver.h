// The only crossing between the PyTorch device (C++) and the session with the executor (Rust): as a backend reaches its vendor's driver.
//
// Every function may be called from any thread, with or without the GIL (functions marked BLOCKING release it if held, and check
// for Ctrl-C while they wait). No exception or panic crosses. Functions that can fail return a tr_status; the text is in tr_last_error().
//
// Order: calls on one device enter its stream in the order in which they return; one mutex per device orders them. Never call with
// a lock held that a tensor's deleter could want (deleters run under arbitrary locks and threads).
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_status {
  TR_OK = 0,
  TR_UNDEFINED_SIGNATURE = 1,  // tr_call only: tr_define it on this device, then call again
  TR_PENDING = 2,              // tr_mark_done only
  TR_ERROR = -1,               // see tr_last_error()
} tr_status;

// What to raise in Python. 1-7 are PyTorch's own classes; the values equal ErrorClass in dataplane.proto.
typedef enum tr_error_class {
  TR_RUNTIME_ERROR = 1, TR_INDEX_ERROR = 2, TR_VALUE_ERROR = 3, TR_TYPE_ERROR = 4, TR_NOT_IMPLEMENTED_ERROR = 5,
  TR_OUT_OF_MEMORY_ERROR = 6, TR_LINALG_ERROR = 7,
  TR_REMOTE_LOST = 20, TR_NO_LEASE = 21, TR_INTERRUPTED = 22 /* a Python exception (KeyboardInterrupt) is set already */,
} tr_error_class;

typedef struct tr_error { int32_t error_class; const char* message; /* NUL-terminated UTF-8 */ } tr_error;
// The calling thread's last error; valid until its next driver call.
tr_error tr_last_error(void);

// ---- devices. Index 0..15 = position of a lease in this process.
int32_t tr_device_count(void);                 // leases held (ended ones not counted)
tr_status tr_device_check(int32_t device);     // TR_OK, or NoLease / RemoteLost with the reason
// What computes behind the device (Welcome.device). Part of what a signature is: some outputs' metadata differ between PyTorch's CPU and
// CUDA kernels, and so does the choice of attention kernel. No lock; TR_KIND_NONE where no session is open.
enum { TR_KIND_NONE = -1, TR_KIND_CPU = 0, TR_KIND_CUDA = 1 };
int32_t tr_device_kind(int32_t device);
// Whether storage `id` belongs to the session now behind `device` (else its use is RemoteLost). No lock.
int tr_storage_alive(int32_t device, uint64_t id);

// ---- storages
uint64_t tr_storage_ids(uint32_t count);       // first of `count` consecutive fresh ids, process-wide; never waits
tr_status tr_create(int32_t device, uint64_t id, uint64_t bytes);      // torch.empty: uninitialised
void tr_free(int32_t device, uint64_t id);     // never fails: after the session nothing is sent
tr_status tr_resize(int32_t device, uint64_t id, uint64_t bytes);      // keeps the common prefix
tr_status tr_label(int32_t device, uint64_t id, const char* name);     // for `kubectl get tensors`

// ---- values. Dtypes are c10::ScalarType numbers. Offsets, sizes and strides count elements.
typedef struct tr_tensor {                     // an argument's or output's metadata
  uint8_t dtype;
  uint8_t flags;                               // TR_WRAPPED | TR_CONJ | TR_NEG
  uint32_t ndim;
  const int64_t* sizes;
  const int64_t* strides;
} tr_tensor;
enum { TR_WRAPPED = 1, TR_CONJ = 2, TR_NEG = 4 };

typedef struct tr_view { uint64_t storage; int64_t offset; tr_tensor meta; } tr_view;

typedef enum tr_arg_kind {
  TR_NONE = 0,
  TR_TENSOR = 1,        // tensor: takes the next (storage, offset) of the call
  TR_CPU_SCALAR = 2,    // 0-dim CPU tensor: dtype in `tensor.dtype`; takes the next 2 words (16 bytes) of `scalars`
  TR_INT = 3,           // i  (also dtype, layout, memory format)
  TR_BOOL = 4,          // i
  TR_FLOAT = 5,         // takes the next of `floats`
  TR_FLOAT_CONST = 6,   // d, part of the signature
  TR_COMPLEX = 7,       // takes the next 2 of `floats`
  TR_INTS = 8,          // ints[len]
  TR_FLOATS = 9,        // doubles[len]: part of the signature
  TR_BOOLS = 10,        // ints[len] as 0/1
  TR_TEXT = 11,         // text[len]
  TR_DEVICE = 12,       // the leased device
  TR_CPU_DEVICE = 13,
  TR_GENERATOR = 14,    // the device's generator: the call carries (seed, n)
  TR_LIST = 15,         // items[len]: tensors (TR_TENSOR or TR_NONE) or scalars (TR_INT, TR_BOOL, TR_FLOAT, TR_COMPLEX)
} tr_arg_kind;

typedef struct tr_arg {
  uint8_t kind;                                // tr_arg_kind
  uint32_t len;
  int64_t i;
  double d;
  tr_tensor tensor;
  union { const int64_t* ints; const double* doubles; const char* text; const struct tr_arg* items; } u;
} tr_arg;

typedef enum tr_output_kind {
  TR_OUT_FRESH = 0,     // new storage, ids first_output, first_output + 1, ... in order
  TR_OUT_ALIAS = 1,     // a view over tensor slot `slot`'s storage at `offset`
  TR_OUT_ARGUMENT = 2,  // argument `slot` (position in args) itself
  TR_OUT_UNDEFINED = 3,
  TR_OUT_LIST = 4,      // items[len]
} tr_output_kind;

typedef struct tr_output {
  uint8_t kind;
  uint32_t slot;
  int64_t offset;
  uint64_t bytes;                              // of the new storage
  tr_tensor meta;                              // what the client assumes; the executor converts strides, refuses other differences
  uint32_t len;
  const struct tr_output* items;
} tr_output;

typedef struct tr_resized { uint32_t slot; tr_tensor meta; } tr_resized;  // tensor slot an out= call resizes, and to what

typedef struct tr_signature {
  const char* name;                            // "aten::add"
  const char* overload;                        // "Tensor" or ""
  const tr_arg* args; uint32_t nargs;
  const tr_output* outputs; uint32_t noutputs; // one per return
  const tr_resized* resized; uint32_t nresized;
  uint8_t random;                              // carries (seed, n) even if no argument is a generator
  uint8_t default_dtype;                       // torch.get_default_dtype() at the call: kernels there look it up too
  const uint32_t* written; uint32_t nwritten;  // positions of arguments that the schema says are written
} tr_signature;

typedef struct tr_call_args {
  uint32_t nviews; const uint64_t* storages; const int64_t* offsets;
  uint32_t nfloats; const double* floats;
  uint32_t nscalars; const uint64_t* scalars;      // words: two for each CPU scalar
  uint64_t first_output;
  uint64_t seed, count;                        // read only where the signature is random
} tr_call_args;

// ---- operators
// `sig` is chosen by the caller, process-wide, from 1 up. Defining again what is defined is no error.
tr_status tr_define(int32_t device, uint32_t sig, const tr_signature* signature);
void tr_forget(uint32_t sig);                  // on every device
tr_status tr_call(int32_t device, uint32_t sig, const tr_call_args* args);   // the hot path: never waits, but for back-pressure

// Data-dependent operators. BLOCKING. New storages get ids first_output + k (tr_storage_ids(TR_NOW_IDS)).
enum { TR_NOW_IDS = 4096 };
typedef enum tr_value_kind { TR_V_NONE = 0, TR_V_TENSOR = 1, TR_V_TENSORS = 2, TR_V_INT = 3, TR_V_FLOAT = 4, TR_V_BOOL = 5,
  TR_V_TEXT = 6, TR_V_INTS = 7, TR_V_ARGUMENT = 8, TR_V_COMPLEX = 9 } tr_value_kind;
typedef struct tr_value_tensor { uint8_t undefined; uint64_t storage_bytes; tr_view view; } tr_value_tensor;
typedef struct tr_value {
  uint8_t kind; uint32_t len; int64_t i; double d, im;
  const tr_value_tensor* tensors; const int64_t* ints; const char* text;
} tr_value;
typedef struct tr_now_resized { uint32_t slot; uint64_t storage_bytes; tr_tensor meta; } tr_now_resized;
typedef struct tr_results { const tr_value* values; uint32_t nvalues; const tr_now_resized* resized; uint32_t nresized; } tr_results;
tr_status tr_call_now(int32_t device, const tr_signature* signature, const tr_call_args* args, tr_results** results);
void tr_results_free(tr_results* results);

// ---- bytes. `data` is contiguous in the view's logical (row-major) order; only the view's bytes travel.
// tr_write copies `data` before it returns; up to 64 MiB it does not wait for the executor.
tr_status tr_write(int32_t device, const tr_view* destination, const void* data, uint64_t bytes);
tr_status tr_read(int32_t device, const tr_view* source, void* data, uint64_t bytes);      // BLOCKING
tr_status tr_synchronize(int32_t device);      // BLOCKING; raises the first failure not raised yet

// ---- events: a mark is a place in the stream of one session, whose serial number goes with it
uint64_t tr_mark(int32_t device, uint64_t* serial);   // 0 = no session
// *executor_ns is the executor's clock at the mark, 0 where that is forgotten. RemoteLost when another session stands behind the device.
tr_status tr_mark_done(int32_t device, uint64_t serial, uint64_t mark, uint64_t* executor_ns);   // TR_OK or TR_PENDING
tr_status tr_mark_wait(int32_t device, uint64_t serial, uint64_t mark, uint64_t* executor_ns);   // BLOCKING

// ---- implemented in C++, called from Rust (src/lib.rs). `PyObject*` results are new references; NULL = Python error set.
int trd_register(void);                        // once, at import: everything PyTorch needs to know; -1 = Python error set
int32_t trd_current_device(void);
int32_t trd_exchange_device(int32_t device);   // this thread's device becomes `device`, -1 = none set; answers what it was
void* trd_default_generator(int32_t device);   // PyObject*
// Names the storage of `tensor` (PyObject*, borrowed, a torch.Tensor) with tr_label. -1 = Python error set.
int trd_label(void* tensor, const char* name);
typedef struct trd_counters { uint64_t hits, misses, python_metas, calls_now, uncached, operators, reads, writes, cache_entries; } trd_counters;
void trd_counters_read(trd_counters* out);
void trd_counters_reset(void);
// Calls `each` for every operator that missed since the last reset: what to add a rule for. `name` is "aten::add.Tensor".
typedef void (*trd_miss_fn)(void* context, const char* name, uint64_t misses, uint64_t python_metas, uint64_t calls_now);
void trd_misses_read(trd_miss_fn each, void* context);
void trd_set_blocking(int on);                 // TORCH_REMOTE_LAUNCH_BLOCKING
// Raise in Python what `tr_error` says; sets the Python error. Classes RemoteLost and NoLease are handed over once by trd_set_exceptions.
void trd_set_exceptions(void* remote_lost, void* no_lease);   // PyObject* borrowed; kept alive by the module

#ifdef __cplusplus
}
#endif
