"""The registry against a dict: 8 runs of 25 steps by default, 500 runs of 50 in full."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Registry

NAMES = st.sampled_from(["a", "b"])
ALIASES = st.sampled_from(["best", "old"])
NUMBERS = st.integers(1, 6)


class RegistryMachine(RuleBasedStateMachine):
    """Saves, deletes and aliases, each checked against what a dict says should happen."""

    registry_class = Registry

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.registry = self.registry_class(self.folder.name)
        self.weights: dict[str, dict[int, float]] = {}
        self.aliases: dict[str, dict[str, int]] = {}
        self.last: dict[str, int] = {}
        self.saved = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(name=NAMES)
    def save(self, name: str) -> None:
        self.saved += 1
        model = Sequential(["Dense(1)"], (1,))
        model.load_state({"dense_1.weight": np.full((1, 1), self.saved), "dense_1.bias": np.zeros(1)})
        self.last[name] = self.last.get(name, 0) + 1
        assert self.registry.save(model, name).number == self.last[name]
        self.weights.setdefault(name, {})[self.last[name]] = self.saved

    @rule(name=NAMES, number=NUMBERS)
    def delete(self, name: str, number: int) -> None:
        allowed = number in self.weights.get(name, {}) and number not in self.aliases.get(name, {}).values()
        self.expect(allowed, self.registry.delete, f"{name}@{number}")
        if allowed:
            del self.weights[name][number]

    @rule(name=NAMES)
    def delete_latest(self, name: str) -> None:
        if self.weights.get(name):
            self.delete(name, max(self.weights[name]))

    @rule(name=NAMES, number=NUMBERS, alias=ALIASES)
    def set_alias(self, name: str, number: int, alias: str) -> None:
        allowed = number in self.weights.get(name, {})
        self.expect(allowed, self.registry.set_alias, f"{name}@{number}", alias)
        if allowed:
            self.aliases.setdefault(name, {})[alias] = number

    @rule(name=NAMES, alias=ALIASES)
    def remove_alias(self, name: str, alias: str) -> None:
        allowed = alias in self.aliases.get(name, {})
        self.expect(allowed, self.registry.remove_alias, name, alias)
        if allowed:
            del self.aliases[name][alias]

    @rule(name=NAMES, alias=ALIASES)
    def load_alias(self, name: str, alias: str) -> None:
        if number := self.aliases.get(name, {}).get(alias):
            weight = self.registry.load(f"{name}@{alias}").state()["dense_1.weight"]
            assert weight == self.weights[name][number]

    @invariant()
    def the_registry_is_what_the_dict_says(self) -> None:
        assert self.registry.models() == sorted(name for name, numbers in self.weights.items() if numbers)
        for name, numbers in self.weights.items():
            assert [version.number for version in self.registry.versions(name)] == sorted(numbers)
            assert self.registry.aliases(name) == self.aliases.get(name, {})
            for number, weight in numbers.items():
                assert self.registry.read(f"{name}@{number}").state["dense_1.weight"] == weight
        assert self.registry.verify() == []
        assert self.registry.gc() == []

    def expect(self, allowed: bool, method: Any, *args: str) -> None:
        if allowed:
            method(*args)
        else:
            with pytest.raises(RegistryError):
                method(*args)


def run(machine: type[RegistryMachine], runs: int, steps: int) -> None:
    how = settings(
        max_examples=runs,
        stateful_step_count=steps,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=how)


def test_the_registry_equals_a_dict() -> None:
    run(RegistryMachine, 8, 25)


@pytest.mark.full
def test_the_registry_equals_a_dict_full() -> None:
    run(RegistryMachine, 500, 50)


def test_positive_control_a_registry_that_uses_numbers_again_is_caught() -> None:
    class Forgetful(Registry):
        def delete(self, ref: str) -> Any:
            version = super().delete(ref)
            version.path.unlink()
            return version

    class Machine(RegistryMachine):
        registry_class = Forgetful

    with pytest.raises(AssertionError):
        run(Machine, 20, 30)
