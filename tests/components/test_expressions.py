"""Expressions: what is read, what is written, and what is refused with which words."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.components.expressions import MAX_DEPTH, MAX_LENGTH, Call, format_call, format_value, parse
from cnnkit.errors import ExpressionError

ALLOWED = "arguments are numbers, strings, True, False, None, lists, tuples, dicts, or other components"

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(scalars, inner, max_size=3)
    ),
    max_leaves=12,
)
words = st.from_regex(r"[A-Z][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda word: word not in ("True", "False", "None")
)
keys = st.from_regex(r"[a-z]_[a-z0-9_]{0,8}", fullmatch=True)


@given(words, st.lists(values, max_size=4).map(tuple), st.dictionaries(keys, values, max_size=3))
def test_what_is_written_is_read_back(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    text = format_call(name, args, kwargs)
    call = parse(text)
    assert call == Call(name, args, kwargs)
    assert repr(call) == repr(Call(name, args, kwargs))  # 1 == True == 1.0, but not as text


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert parse(text).name.isidentifier()


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("ReLU", Call("ReLU")),
        ("  ReLU()\n", Call("ReLU")),
        ("Conv2D(8, 3)", Call("Conv2D", (8, 3))),
        ('Conv2D(8, (3, 5), padding="same")', Call("Conv2D", (8, (3, 5)), {"padding": "same"})),
        ("Folder('a:b')", Call("Folder", ("a:b",))),
        ("F(-1, -0.5, 1e-3, None, True)", Call("F", (-1, -0.5, 0.001, None, True))),
        ("F((1,), [], {})", Call("F", ((1,), [], {}))),
        ('F({"a": 1, -2: G()})', Call("F", ({"a": 1, -2: Call("G")},))),
        ("Residual(Conv2D(16, 3), ReLU)", Call("Residual", (Call("Conv2D", (16, 3)), Call("ReLU")))),
        ("Residual(\n    ReLU(),\n)", Call("Residual", (Call("ReLU"),))),
        ("cnnkit-walsh:HadamardDense(3)", Call("HadamardDense", (3,), {}, "cnnkit-walsh")),
        ("cnnkit:ReLU", Call("ReLU", distribution="cnnkit")),
    ],
)
def test_reads(text: str, call: Call) -> None:
    assert parse(text) == call


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("os.system()", "os.system"),
        ("F(os.path)", "os.path"),
        ("F(lambda: 0)", "lambda: 0"),
        ("F([x for x in y])", "[x for x in y]"),
        ("F(G()())", "G()"),
        ("F()()", "F()"),
        ("F(*a)", "*a"),
        ("F([*a])", "*a"),
        ("F(**a)", "**a"),
        ("F({**a})", "{**a}"),
        ("F({G(): 1})", "{G(): 1}"),
        ("F({b'x': 1})", "b'x'"),
        ("F({1, 2})", "{1, 2}"),
        ("F(f'{x}')", "f'{x}'"),
        ("F(b'x')", "b'x'"),
        ("F(1j)", "1j"),
        ("F(...)", "..."),
        ("F(1 + 2)", "1 + 2"),
        ("F(+1)", "+1"),
        ("F(-'a')", "-'a'"),
        ("F(not True)", "not True"),
        ("F(a if b else c)", "a if b else c"),
        ("F(a := 3)", "a := 3"),
        ("F(a[0])", "a[0]"),
        ("F(1 < 2)", "1 < 2"),
    ],
)
def test_refuses_everything_but_literals_and_calls(text: str, refused: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == f"{refused!r} is not allowed in {text!r}: {ALLOWED}"


@pytest.mark.parametrize("text", ["3", "'Conv2D'", "[ReLU()]", "a.b", "True", "lambda x: 0"])
def test_refuses_what_is_no_component(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == f'expected a component such as "Conv2D(8, 3)", got {text!r}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot read '': "),
        ("Conv2D(8,", "cannot read 'Conv2D(8,' at column 7: '(' was never closed"),
        ("import os", "cannot read 'import os' at column 1: invalid syntax"),
        ("  a-b:F(", "cannot read '  a-b:F(' at column 8: '(' was never closed"),
        ("F(\0)", "cannot read 'F(\\x00)': "),
        ("F('\ud800')", "cannot read \"F('\\ud800')\": it cannot be read"),
        ("a:b:F()", "cannot read 'a:b:F()' at column 4: invalid syntax"),
        ("Residual(a-b:F())", "cannot read 'Residual(a-b:F())' at column 13: invalid syntax"),
    ],
)
def test_says_where_it_cannot_be_read(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value).startswith(reason)
    assert str(caught.value).endswith('; expected the form "Conv2D(8, 3)"')


def test_refuses_an_argument_given_twice() -> None:
    with pytest.raises(ExpressionError, match=r"^'F\(a=1, a=2\)' gives a twice: remove one of them$"):
        parse("F(a=1, a=2)")


@pytest.mark.parametrize("value", [3, None, b"ReLU()"])
def test_refuses_what_is_no_text(value: Any) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(value)
    assert str(caught.value) == f'expected an expression as text, such as "Conv2D(8, 3)", got {value!r}'


def test_refuses_long_text() -> None:
    fits = f'F("{"x" * (MAX_LENGTH - 5)}")'
    assert len(fits) == MAX_LENGTH
    parse(fits)
    with pytest.raises(
        ExpressionError,
        match=r"^an expression may have at most 10,000 characters, this one has 10,001: .F\(.x.*; use fewer branches, ",
    ):
        parse(fits + " ")


@pytest.mark.parametrize(("before", "after"), [("F(", ")"), ("[", "]"), ("(", ",)"), ("{1: ", "}")])
def test_refuses_deep_nesting(before: str, after: str) -> None:
    parse(f"F({before * (MAX_DEPTH - 1)}1{after * (MAX_DEPTH - 1)})")
    with pytest.raises(ExpressionError, match=r"^'F\(.*' nests deeper than 50 levels$"):
        parse(f"F({before * MAX_DEPTH}1{after * MAX_DEPTH})")


@pytest.mark.parametrize("depth", [100, 600, 900, 3000])
@pytest.mark.parametrize(
    ("start", "more", "end"), [("F", ".a", "()"), ("F", "()", ""), ("F(1", "+1", ")"), ("F(", "-", "1)")]
)
def test_refuses_deep_operators_at_any_depth(start: str, more: str, end: str, depth: int) -> None:
    with pytest.raises(ExpressionError, match=r"is not allowed in|cannot read"):
        parse(start + more * depth + end)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_does_not_write_numbers_that_are_not_finite(value: float) -> None:
    with pytest.raises(ExpressionError, match=r"^(nan|-?inf) cannot be written in an expression: use a finite number$"):
        format_value([value])


def test_writes_numpy_floats_as_numbers() -> None:
    assert format_call("Adam", (np.float64(0.001),), {}) == "Adam(0.001)"


def test_what_is_read_twice_shares_nothing() -> None:
    one, other = (parse("Concat([ReLU()], x={'a': [1]})") for _ in range(2))
    assert one == other
    one.args[0].append("more")
    one.kwargs["x"]["a"].append(2)
    one.kwargs["y"] = 3
    assert other == parse("Concat([ReLU()], x={'a': [1]})") != one
