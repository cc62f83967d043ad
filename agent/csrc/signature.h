// A prepared signature: all that repeats about a call, worked out once.
#pragma once
#include "tensor.h"
#include <ATen/core/dispatch/Dispatcher.h>

namespace trb {

// Where a tensor, float or CPU scalar of a call goes: argument, and item of it where the argument is a list.
struct Place {
  uint32_t argument;
  int32_t item;  // -1: the argument itself
};

struct TensorSlot {
  Place place;
  Meta meta;
  bool resizable;  // written and of an out= argument or listed in `resized`
};
struct ScalarSlot { Place place; Meta meta; };
struct FloatSlot { Place place; bool complex, number; };

enum class OutputKind : uint8_t { Fresh = 0, Alias = 1, Argument = 2, Undefined = 3, List = 4 };
struct Output {
  OutputKind kind;
  uint32_t slot = 0;
  int64_t offset = 0;
  uint64_t bytes = 0;
  std::optional<Meta> meta;
  std::vector<Output> items;

  explicit Output(const trb_output& output);
};

// A list argument with tensors or numbers in it: made anew for each call.
struct ListArgument {
  uint32_t argument;
  enum class Kind { Tensors, OptionalTensors, Numbers } kind;
  std::vector<c10::IValue> items;  // constants; None where a slot fills in
};

struct Signature {
  c10::OperatorHandle op;
  bool now, random, fused_cell;
  c10::ScalarType default_dtype;
  std::vector<c10::IValue> constants;  // one per argument; None where a slot fills in
  std::vector<ListArgument> lists;
  std::vector<TensorSlot> tensors;
  std::vector<ScalarSlot> scalars;
  std::vector<FloatSlot> floats;
  std::vector<Output> outputs;
  std::vector<std::optional<Meta>> resized;  // per tensor slot
  std::vector<trb_slot> uses;                // per tensor slot

  explicit Signature(const trb_description& description);

  // Fills `stack` with the call's arguments and `arguments` with its tensors, slot by slot.
  void fill(const trb_call& call, std::vector<c10::IValue>& stack, std::vector<at::Tensor>& arguments) const;
  // Seeds the generator, runs the kernel, leaves the results on the stack.
  void execute(const trb_call& call, std::vector<c10::IValue>& stack) const;
  std::string name() const;

 private:
  void take_argument(uint32_t position, const trb_arg& arg, const c10::Argument& declared);
  void take_list(uint32_t position, const trb_arg& arg, const c10::Type& item_type, const c10::Argument& declared);
  void take_tensor(Place place, const trb_meta& meta, const c10::Argument& declared);
  // Marks what the kernel writes and its schema does not say.
  void take_hidden_writes();
};

}  // namespace trb
