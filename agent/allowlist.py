"""Writes src/execute/allowlist.txt: the operators an executor runs, from the schemas registered in this interpreter's torch.

Allowed: operators of the aten namespace with a kernel that reaches CPU or CUDA, whose arguments and results travel (proto/README.md) and which touch nothing
but tensors. Never: files, TorchScript's own operators, classes, storages and streams as arguments, changes of a tensor's storage.
Run it with a CUDA build of torch (no GPU needed), else operators that only CUDA has are missing: python agent/allowlist.py
"""

import pathlib
import re

import torch

KEYS = (
    "CPU",
    "CUDA",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
)
# Types of arguments and results that travel, list and optional marks removed.
TYPES = {
    "Tensor",
    "int",
    "SymInt",
    "float",
    "bool",
    "SymBool",
    "number",
    "Scalar",
    "str",
    "Device",
    "Generator",
    "ScalarType",
    "Layout",
    "MemoryFormat",
}
# Reach beyond tensors, change what a tensor is, or skip the checks that keep kernels inside their memory.
DENIED = re.compile(
    r"aten::("
    r"from_file|save|set_|set_data|data|_print|_test_.*|_pin_memory|pin_memory|record_stream|requires_grad_|retain_grad|backward|_backward|output_nr|_version|"
    r"resize_|resize_as_|resize_as_sparse_|resize|resize_as|_resize_output|_resize_output_|as_strided_|"
    r"sparse_resize_.*|.*_unsafe|_sparse_.*_unsafe|_nested_view.*|_nested_get.*|_cufft_.*|"
    r"_debug_has_internal_overlap|_has_compatible_shallow_copy_type|_share_memory_.*|"
    r"_foobar|_propagate_xla_data|sym_.*|_cslt_.*|_linalg_check_errors|_validate_.*|is_pinned|"
    r"q_.*|int_repr|quantize_.*|dequantize|_empty_.*quantized.*|empty_quantized|_make_per_.*_quantized_tensor|quantized_.*|fbgemm_.*|"
    r"mkldnn_.*|_mkldnn_.*|to_mkldnn.*|to_sparse.*|_to_sparse.*|sparse_.*tensor.*|_sparse_.*tensor.*|_coalesce.*|coalesce|copy_sparse_to_sparse.*|hspmm.*|"
    r"_wrapped_.*quantized.*|_wrapped_linear_prepack|_fw_primal.*|_make_dual.*|_unpack_dual|_new_zeros_with_same_feature_meta.*"
    r")$"
)


def base(type_: str) -> str:
    """A type without optional and list marks."""
    while True:
        match = re.fullmatch(r"Optional\[(.*)\]|List\[(.*)\]", type_)
        if not match:
            return type_
        type_ = match.group(1) or match.group(2)


def allowed(name: str) -> bool:
    namespace_and_name, _, overload = name.partition(".")
    if not namespace_and_name.startswith("aten::") or DENIED.match(namespace_and_name):
        return False
    if overload.startswith("Dimname") or overload.startswith("dimname") or "names" in overload.split("_"):
        return False
    if not any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in KEYS):
        return False
    schema = torch._C._get_schema(namespace_and_name, overload)
    values = [*schema.arguments, *schema.returns]
    types = {base(str(value.type)) for value in values}
    return types <= TYPES and any("Tensor" in str(value.type) for value in values)


def main() -> None:
    names = sorted(name for name in torch._C._dispatch_get_all_op_names() if allowed(name))
    path = pathlib.Path(__file__).parent / "src" / "execute" / "allowlist.txt"
    head = f"# Written by agent/allowlist.py with torch {torch.__version__.split('+')[0]}: {len(names)} operators. Do not edit.\n"
    path.write_text(head + "".join(f"{name}\n" for name in names))
    print(f"{len(names)} operators")


if __name__ == "__main__":
    main()
