"""The PyTorch twin of a random configuration, as far as it can be told from the twins of a component's examples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.arguments import signature
from cnnkit.components import BatchCoupledLayer, Component, Layer, Loss
from cnnkit.components.expressions import parse
from cnnkit.testing import PlainContext
from cnnkit.testing.random_configurations import Configuration
from cnnkit.types import Array, Example, Grads, Shape

Values = dict[str, Any]

INPUT = "kind of the input"
"""A fact: how many axes it has, what the targets are, and which of our arguments are lists."""


def twin_class(path: str) -> Any:
    """The class that a component names, such as torch.nn.ReLU."""
    import torch

    return functools.reduce(getattr, path.split(".")[1:], torch)


@dataclass(frozen=True)
class TwinRule:
    """Where each argument of a twin comes from: one of our facts, which `_facts` has, or always the same."""

    cls: Any
    sources: Mapping[str, str]
    constants: Values
    seen: tuple[Values, ...]
    """Our arguments and the kind of the input, of each example with a twin: with others, nothing is known."""
    held: frozenset[str]
    """Of which only these values, together, are known to have a twin: the kind of the input, our arguments that none of
    the twin's follows, and those with a word, switch or fraction that no example with a twin has."""

    def arguments(self, one: Configuration) -> Values | None:
        """Those of the twin of a configuration; None if they cannot be told."""
        ours = _facts(one.arguments, one.in_shape, one.example.targets)
        if not ours.keys() >= set(self.sources.values()):
            return None
        held = {name: ours[name] for name in self.held}
        if all(any(not _same(value, seen[name]) for name, value in held.items()) for seen in self.seen):
            return None
        taken = {name: ours[source] for name, source in self.sources.items()}
        defaults = _defaults(self.cls)
        return self.constants | {
            n: defaults[n] if value is None and n in defaults else value for n, value in taken.items()
        }


def rule_of(cls: type[Component], examples: tuple[Example, ...], path: str) -> TwinRule | None:
    """What all examples with a twin agree on; None if an argument of the twin follows no rule."""
    twin = twin_class(path)
    theirs: list[Values] = []
    ours: list[Values] = []
    for one in examples:
        if one.twin is not None:
            theirs.append(arguments_of(twin, one.twin))
            ours.append(_own(cls, one))
    sources: dict[str, str] = {}
    constants: Values = {}
    for name in theirs[0]:
        values = [one[name] for one in theirs]
        source = _source(name, values, ours, _defaults(twin).get(name))
        if source is not None:
            sources[name] = source
        elif all(_same(value, values[0]) for value in values):
            constants[name] = values[0]
        else:
            return None
    names = list(signature(cls).parameters)
    inputs = [one[INPUT] for one in ours]
    others = [own for one in examples if one.twin is None and (own := _own(cls, one))[INPUT] in inputs]
    followed = {name for source in sources.values() for name in names if source in _forms(name)}
    held = frozenset(name for name in names if name not in followed or _is_special(name, others, ours)) | {INPUT}
    return TwinRule(twin, sources, constants, tuple({name: one[name] for name in held} for one in ours), held)


def arguments_of(cls: Any, text: str) -> Values:
    """All arguments of a twin by name, with the defaults, from those that are written in an example."""
    call = parse(f"Twin({text})")
    bound = inspect.signature(cls).bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _own(cls: type[Component], one: Example) -> Values:
    call = parse(one.expression)
    bound = signature(cls).bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    return _facts(dict(bound.arguments), one.in_shape, one.targets)


def _is_special(name: str, others: list[Values], ours: list[Values]) -> bool:
    """Whether an example without a twin has a word, switch or fraction that none with a twin has.

    others: those whose kind of input one with a twin has, too, so that it is not the reason.
    """
    told = [one[name] for one in others if isinstance(one[name], bool | str | float)]
    return any(not any(_same(value, one[name]) for one in ours) for value in told)


def _facts(arguments: Values, in_shape: Shape, targets: str) -> Values:
    """What an argument of a twin may be: ours, the sizes of the input, or what is made of both, least likely last."""
    facts = arguments | {f"axis {i}": size for i, size in enumerate(in_shape)}
    facts["whole shape"] = in_shape if len(in_shape) > 1 else sum(in_shape)
    facts[INPUT] = (len(in_shape), targets, *(name for name, value in arguments.items() if isinstance(value, list)))
    for name, value in arguments.items():
        made = (value * in_shape[0] if type(value) is int and in_shape else None, _sides(value, 1), _sides(value, -1))
        facts |= {form: fact for form, fact in zip(_forms(name)[1:], made, strict=True) if fact is not None}
    return facts


def _forms(name: str) -> tuple[str, str, str, str]:
    """The names of the facts that an argument of ours is in."""
    return name, f"channels * {name}", f"sides of {name}", f"-sides of {name}"


def _sides(value: Any, sign: int) -> Any:
    """Of images: (height, width) or ((top, bottom), (left, right)) as PyTorch's (left, right, top, bottom)."""
    match value:
        case int() if not isinstance(value, bool):
            return sign * value
        case (int(y), int(x)):
            return sign * x, sign * x, sign * y, sign * y
        case ((int(top), int(bottom)), (int(left), int(right))):
            return sign * left, sign * right, sign * top, sign * bottom
    return None


def _source(name: str, values: list[Any], ours: list[Values], default: Any) -> str | None:
    """What of ours has the same values in all examples: of the same name, or different ones."""
    known = [key for key in ours[0] if all(key in one for one in ours)]
    fitting = [
        key
        for key in known
        if all(
            _same(one[key], value) or (one[key] is None and _same(value, default))
            for one, value in zip(ours, values, strict=True)
        )
    ]
    named = [key for key in fitting if key == name or name.startswith(f"{key}_") or key in (f"{name}ilon",)]
    varied = [key for key in fitting if any(not _same(value, values[0]) for value in values)]
    return next(iter(named or varied), None)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b) if isinstance(a, bool) or isinstance(b, bool) else bool(a == b)


def _defaults(cls: Any) -> Values:
    return {n: p.default for n, p in inspect.signature(cls).parameters.items() if p.default is not p.empty}


def made(cls: Any, arguments: Values, call: Callable[[Any], object]) -> Any | None:
    """The module with these arguments; None if PyTorch refuses them, some of which it does when it is called."""
    try:
        call(made_of(cls, arguments))
        return made_of(cls, arguments)  # another one, since a call may leave running means
    except (ValueError, RuntimeError, TypeError):
        return None


def made_of(cls: Any, arguments: Values) -> Any:
    """The module with these arguments, of all but `*args`; weights of classes become tensors."""
    import torch

    rest = [n for n, p in inspect.signature(cls).parameters.items() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    given = {n: v for n, v in arguments.items() if n not in rest}
    tensors = ("weight", "pos_weight")
    return cls(**{n: torch.tensor(v).double() if n in tensors and v is not None else v for n, v in given.items()})


def ours(layer: Layer, x: Array, dy: Array, ctx: PlainContext | None = None) -> tuple[Array, Array, Grads]:
    """Forward and backward in training, of one tile."""
    ctx = ctx or PlainContext(dtype="float32")
    if isinstance(layer, BatchCoupledLayer):
        ctx.partial = ctx.total = layer.partial(x, ctx)
        layer.absorb(ctx.total)
    y, cache = layer.forward(x, ctx)
    if isinstance(layer, BatchCoupledLayer):
        ctx.partial = ctx.total = layer.backward_partial(dy, cache, ctx)
    dx, grads = layer.backward(dy, cache, ctx)
    return y, dx, grads


def theirs(module: Any, x: Array, dy: Array) -> tuple[Array, Array, list[Array]]:
    """Forward and backward of the twin, as it stands: in training or not."""
    import torch

    torch.set_num_threads(1)
    given = torch.tensor(x, requires_grad=True)
    module.zero_grad()
    y = module(given)
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), given.grad.numpy(), [p.grad.numpy() for p in module.parameters()]


def copy_parameters(layer: Layer, module: Any, rng: np.random.Generator) -> None:
    """Random numbers for the parameters of a built layer, the same for its twin."""
    import torch

    layer.params = {name: rng.normal(size=value.shape).astype("f4") for name, value in layer.params.items()}
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), layer.params.values(), strict=True):
            parameter.copy_(torch.tensor(value))


def layer_errors(layer: Layer, in_shape: Shape, module: Any, rng: np.random.Generator, batch: int) -> Iterator[float]:
    """How far values and gradients in float32 are from the twin's; in training unless numbers are drawn, too.

    The twin computes in float64: its own rounding, as of a norm over two samples, is no error of ours.
    """
    out_shape = layer.build(in_shape, rng)
    copy_parameters(layer, module, rng)
    module = module.double()
    x = rng.normal(0.5, 2, (batch, *in_shape)).astype("f4")
    dy = rng.normal(size=(batch, *out_shape)).astype("f4")
    y, _ = layer.forward(x, PlainContext(training=False, dtype="float32"))
    exact, exact_dy = x.astype("f8"), dy.astype("f8")
    yield _error(y, theirs(module.eval(), exact, exact_dy)[0])
    y, dx, grads = ours(layer, x, dy, ctx := PlainContext(dtype="float32"))
    if not ctx.has_drawn:
        expected_y, expected_dx, expected = theirs(module.train(), exact, exact_dy)
        yield _error(y, expected_y)
        yield _error(dx, expected_dx)
        yield from (_error(grad, value) for grad, value in zip(grads.values(), expected, strict=True))


def loss_errors(loss: Loss, module: Any, outputs: Array, targets: Array) -> Iterator[float]:
    """How far losses and gradients of each sample alone are from the twin's mean, which is computed in float64."""
    import torch

    losses, cache = loss.forward(outputs, targets)
    gradient = loss.backward(cache, 1.0)
    for at in range(len(outputs)):
        x = torch.tensor(outputs[at : at + 1].astype("f8"), requires_grad=True)
        target = targets[at : at + 1]
        expected = module(x, torch.tensor(target if target.dtype.kind in "iu" else target.astype("f8")))
        if not torch.isfinite(expected):
            continue  # a mean of nothing, where all of a sample is ignored
        expected.backward()
        yield _error(losses[at : at + 1], expected.detach().numpy()[None])
        yield _error(gradient[at : at + 1], x.grad.numpy())


def _error(given: Array, expected: Array) -> float:
    """Relative to the largest number, or to 1."""
    assert given.dtype == np.float32
    assert given.shape == expected.shape
    return float(np.abs(given - expected).max(initial=0.0)) / max(1.0, float(np.abs(expected).max(initial=0.0)))
