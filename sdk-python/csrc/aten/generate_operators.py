"""Writes Operators.generated.inc: every aten operator with a CPU or CUDA kernel.

Run it with a PyTorch that was built with CUDA (no GPU needed); a CPU wheel does not know the CUDA kernels.
"""

import pathlib

import torch

# Operators that PyTorch would take apart into several: one command on the wire instead.
WHOLE = [
    "convolution",
    "convolution_backward",
    "native_group_norm",
    "native_group_norm_backward",
    "native_layer_norm",
    "native_layer_norm_backward",
]


def text():
    if torch.version.cuda is None:
        raise SystemExit("this PyTorch has no CUDA kernels to list; install the CUDA build of the same version")
    names = set(WHOLE)
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("aten::") and any(
            torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in ("CPU", "CUDA")
        ):
            names.add(name.removeprefix("aten::"))
    lines = [f"// Written by generate_operators.py from torch {torch.__version__}. {len(names)} operators."]
    lines += [f'"{name}",' for name in sorted(names)]
    return "\n".join(lines) + "\n"


def main():
    pathlib.Path(__file__).with_name("Operators.generated.inc").write_text(text())


if __name__ == "__main__":
    main()
