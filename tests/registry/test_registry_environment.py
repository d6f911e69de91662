"""What is recorded of where a training took place, and what has changed since."""

from __future__ import annotations

import pytest

from cnnkit.registry import environment
from cnnkit.registry.environment import deciding, differences


def test_machine_code_is_compared_only_with_what_was_trained_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    here = deciding()
    assert differences(here) == []
    compiled = here | {"machine_code": "0123456789abcdef"}
    assert differences(compiled) == ["machine_code was 0123456789abcdef, it is none"]
    monkeypatch.setattr(environment, "identity", lambda: "0123456789abcdef")
    assert differences(compiled) == []
    monkeypatch.setattr(environment, "is_loaded", lambda: True)
    assert environment.environment()["machine_code"] == deciding()["machine_code"] == "0123456789abcdef"
    assert differences({}) == [f"{name} was unknown, it is {text}" for name, text in here.items()]
