"""How loops are compiled: only modules with loops import this, and with it Numba.

Loops take pointers, as in C: what they index has no bounds, and no negative index that counts from the end, which would
keep LLVM from making vectors of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
from numba import types

from cnnkit.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # a division by zero is no exception
    # A sum may be added in another order, and a product with it in one step; NaN and infinity stay what they are.
    "fastmath": {"contract", "reassoc", "nsz"},
    "no_cfunc_wrapper": True,
    "no_cpython_wrapper": True,
}
POINTERS = {
    "float32": types.CPointer(types.float32),
    "float64": types.CPointer(types.float64),
    "uint8": types.CPointer(types.uint8),
    "intp": types.CPointer(types.intp),
}


class Compiled(NamedTuple):
    """A loop as machine code."""

    symbol: str
    """Its name in the object file."""
    code: bytes
    """The object file."""


def inner(function: F) -> F:
    """A loop that becomes a part of those that call it."""
    return cast(F, numba.njit(**OPTIONS)(function))


def compiled(function: Callable[..., None], arguments: tuple[str, ...], *, exact: bool) -> Compiled:
    """The machine code of a function, for the processor that this runs on; exact: with no other rounding than written.

    arguments: what each is, by the names of `interface`. Raises ConfigError for code that needs more than itself:
    whoever loads it has no Numba.
    """
    import llvmlite.binding as llvm

    kinds = {"count": types.intp, "number": types.float32} | POINTERS
    signature = types.void(*(kinds[one] for one in arguments))
    options = OPTIONS | {"fastmath": False} if exact else OPTIONS
    dispatcher = numba.njit([signature], **options)(function)
    module = llvm.parse_assembly(dispatcher.inspect_llvm(signature.args))
    if needed := [one.name for one in module.functions if one.is_declaration and not one.name.startswith("llvm.")]:
        raise ConfigError(f"{function.__name__} needs {', '.join(needed)}: write it without what Python's objects need")
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
    )
    return Compiled(dispatcher.overloads[signature.args].fndesc.llvm_func_name, target.emit_object(module))
