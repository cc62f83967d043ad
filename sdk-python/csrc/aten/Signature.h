// A call's signature in the driver's terms. Views into the arguments and the entry: both must outlive it.
#pragma once

#include <deque>
#include <vector>

#include "aten/Operator.h"
#include "driver.h"

namespace remote {

class Signature {
 public:
  // `entry` is null for a call whose results only the executor knows.
  Signature(const Operator& op, const c10::IValue* arguments, const Entry* entry);
  Signature(const Signature&) = delete;
  Signature& operator=(const Signature&) = delete;

  const tr_signature* get() const {
    return &signature_;
  }

 private:
  tr_arg argument(const Operator& op, size_t position, const c10::IValue& value);
  tr_arg list(const Operator& op, size_t position, c10::ArrayRef<c10::IValue> items);
  tr_output output(const ReturnValue& value);

  std::vector<tr_arg> arguments_;
  std::vector<tr_output> outputs_;
  std::vector<tr_resized> resized_;
  std::vector<uint32_t> written_;
  std::deque<std::vector<tr_arg>> argument_lists_;
  std::deque<std::vector<tr_output>> output_lists_;
  std::deque<std::vector<int64_t>> ints_;
  std::deque<std::vector<double>> doubles_;
  tr_signature signature_{};
};

} // namespace remote
