"""Writes MetaTable.generated.cpp: PyTorch's C++ meta functions (`at::meta::*`) by operator name.

Reads the headers of the installed PyTorch and the symbols of its libtorch_cpu: some functions are declared but not exported.
"""

import pathlib
import re
import subprocess

import torch

ROOT = pathlib.Path(torch.__file__).parent
OPS = ROOT / "include" / "ATen" / "ops"


def split_arguments(text):
    """Top-level comma split of a C++ parameter list."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char in "<({") - (char in ">)}")
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    return [*parts, current] if current.strip() else parts


def type_of(parameter):
    """The type of one parameter, without its name and default."""
    text = re.sub(r"\s*=\s*.*$", "", parameter.strip())
    text = re.sub(r"(?<=[\s&>])\w+$", "", text) if re.search(r"[&>\w]\s+\w+$|&\w+$", text) else text
    return normal(text)


def normal(text):
    text = re.sub(r"\s+", " ", text).replace("::std::", "std::")
    return text.replace(" &", "&").strip()


def exported():
    """Names of the functions in at::meta that libtorch_cpu exports."""
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", "-C", ROOT / "lib" / "libtorch_cpu.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(re.findall(r"\bat::meta::(\w+)\(", symbols))


def declared(header):
    """{function: [(return type, parameter types)]} of one *_meta_dispatch.h."""
    functions = {}
    for result, name, parameters in re.findall(r"TORCH_API (.+?) (\w+)\((.*)\);", header):
        functions.setdefault(name, []).append((normal(result), [type_of(p) for p in split_arguments(parameters)]))
    return functions


def operators(header):
    """(name, overload, return type, parameter types) of each operator in one *_ops.h, SymInt read as int."""
    pattern = r"using schema = (.+?) \((.*?)\);.*?name = \"aten::(.*?)\";.*?overload_name = \"(.*?)\";"
    for result, parameters, name, overload in re.findall(pattern, header, re.DOTALL):
        plain = parameters.replace("at::OptionalSymIntArrayRef", "at::OptionalIntArrayRef")
        plain = plain.replace("c10::SymIntArrayRef", "at::IntArrayRef").replace("c10::SymInt", "int64_t")
        yield name, overload, normal(result), [normal(p) for p in split_arguments(plain)]


def rows():
    symbols = exported()
    for path in sorted(OPS.glob("*_meta_dispatch.h")):
        base = path.name.removesuffix("_meta_dispatch.h")
        if not (OPS / f"{base}_ops.h").exists():
            continue
        functions = declared(path.read_text())
        for name, overload, result, parameters in operators((OPS / f"{base}_ops.h").read_text()):
            function = f"{name}_outf" if "out" in re.split(r"[_.]", overload) else name
            if function in symbols and any(parameters == other for _, other in functions.get(function, [])):
                yield (
                    base,
                    f"aten::{name}.{overload}".removesuffix("."),
                    f"{result} (*)({', '.join(parameters)})",
                    function,
                )


def text():
    table = list(rows())
    lines = [
        f"// Written by generate_meta.py from torch {torch.__version__}. {len(table)} operators.",
        '#include "meta/MetaTable.h"',
        "",
        "#include <ATen/core/Tensor.h>",
        "",
        "#include <unordered_map>",
        "",
        *(f"#include <ATen/ops/{base}_meta_dispatch.h>" for base in sorted({row[0] for row in table})),
        "",
        "namespace remote {",
        "namespace {",
        "",
        "using Table = std::unordered_map<std::string, c10::KernelFunction>;",
        "",
        "template <class Function>",
        "void add(Table& table, const char* name, Function* function) {",
        "  table.emplace(name, c10::KernelFunction::makeFromUnboxedRuntimeFunction(function));",
        "}",
        "",
        "Table make_table() {",
        "  Table table;",
        *(f'  add(table, "{name}", static_cast<{cast}>(&at::meta::{function}));' for _, name, cast, function in table),
        "  return table;",
        "}",
        "",
        "} // namespace",
        "",
        "const c10::KernelFunction* find_meta(const std::string& full_name) {",
        "  static const Table* table = new Table(make_table());",
        "  const auto found = table->find(full_name);",
        "  return found == table->end() ? nullptr : &found->second;",
        "}",
        "",
        "} // namespace remote",
    ]
    return "\n".join(lines) + "\n"


def main():
    pathlib.Path(__file__).with_name("MetaTable.generated.cpp").write_text(text())


if __name__ == "__main__":
    main()
