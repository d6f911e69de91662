"""Hostile and mutated files: 300 mutants by default, 3,000 in full, half of them sealed again with a valid hash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile_files  # type: ignore[import-not-found]  # beside this file
import pytest

from cnnkit.errors import RegistryError
from cnnkit.registry.format import manifest
from cnnkit.registry.format.safety import read_arrays

MEMORY = 64 * 2**20
"""Bytes; the files have 3 MiB at most, and the interpreter itself grows while it reads them."""
DRIVER = Path(__file__).with_name("hostile_driver.py")


def drive(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(DRIVER), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"  # below 0: ended by a signal
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drive("corpus", str(tmp_path_factory.mktemp("hostile")))


def test_every_hostile_file_is_refused(result: dict[str, Any]) -> None:
    outcomes = dict(result["outcomes"])
    assert outcomes.pop("good") == "loaded"
    assert len(outcomes) > 60
    assert [name for name, text in outcomes.items() if not text.startswith("refused: net@1 cannot be")] == []


def test_nothing_outside_the_registry_is_opened_run_or_imported(result: dict[str, Any]) -> None:
    assert result["foreign"] == []


@pytest.mark.parametrize(
    ("reader", "event"), [("follow", "open"), ("unpickle", "pickle.find_class"), ("execute", "exec")]
)
def test_positive_control_the_hook_sees_a_careless_reader(tmp_path: Path, reader: str, event: str) -> None:
    assert any(seen.startswith(event) for seen in drive(reader, str(tmp_path))["foreign"])


def test_positive_control_hdf5_that_opens_a_foreign_file_waits_for_ever(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(DRIVER), "trust", str(tmp_path)], capture_output=True, timeout=600)
    assert done.returncode == -signal.SIGALRM


def test_no_hostile_file_takes_much_memory(result: dict[str, Any]) -> None:
    assert result["memory"] < MEMORY


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SoftLink_at_state", "soft or external link"),
        ("ExternalLink_at_manifest", "soft or external link"),
        ("external_storage", "filters or storage outside"),
        ("virtual_dataset", "chunked or virtual"),
        ("gzip_bomb", "chunked or virtual"),
        ("huge_shape_without_storage", "declares 1,125,899,906,842,624 bytes and stores 0"),
        ("type_vlen_strings", "must be of one of the types"),
        ("attributes_of_the_root", "has 1000 attributes; none are allowed"),
        ("too_many_arrays", "more than 10,000 members"),
        ("one_array_with_two_names", "has 2 names"),
        ("overlapping_arrays", "declares 100,000 bytes, more than the file has left for it"),
        ("name_with_a_zero_byte", "name different things"),
        ("manifest_with_the_same_key_twice", "the same key twice"),
        ("manifest_with_code", "is not allowed"),
        ("manifest_with_a_distribution_that_is_a_command", "distribution and version of each"),
        ("manifest_with_a_component_in_a_dict", "it needs Foo, which did not come from a plugin"),
        ("manifest_with_a_component_without_origin", "it needs Foo, which did not come from a plugin"),
        ("manifest_with_a_layer_larger_than_the_file", "it asks for 180,000,000 numbers, more than remain of the 8"),
        ("manifest_with_many_channels", "it asks for 60,000,000 numbers, more than remain of the 8"),
        ("manifest_with_many_layers", "a model may have at most 10,000 layers, merges and empty branches"),
        ("manifest_with_layers_in_layers", "a model may have at most 10,000 layers, merges and empty branches"),
        ("manifest_with_the_name_of_another_model", "it is a version of the model 'other', in the folder of 'net'"),
        ("manifest_with_a_number_beyond_floats", "1e999 is more than a float holds"),
        ("manifest_with_a_history_of_one_number", "history = {'loss': 3}; expected lists of numbers by name"),
        ("manifest_with_a_recipe_without_sections", "recipe = {'train': 3}; expected sections as objects by name"),
        ("bytes_after_the_end", "its HDF5 ends after 4,031 bytes, the file has 8,031"),
        ("bytes_before_the_beginning", "its superblock must have version 0, 2 or 3, 8-byte addresses, and begin at"),
    ],
)
def test_the_reason_is_the_right_one(result: dict[str, Any], name: str, reason: str) -> None:
    assert reason in result["outcomes"][name]


def test_the_walk_refuses_them_in_this_process_too(tmp_path: Path) -> None:
    refused = 0
    for data in hostile_files.corpus(tmp_path / "secret").values():
        try:
            manifest.decode(read_arrays(data)[0])
        except RegistryError:
            refused += 1
    assert refused > 60


def test_positive_control_a_trusting_reader_gives_a_foreign_file_away(tmp_path: Path) -> None:
    result = drive("control", str(tmp_path))
    assert result["taken"] == [0, 1, 2, 3, 4, 5]
    assert result["memory"] > MEMORY  # the network that a file of 4 kB may describe


def check_mutants(folder: Path, count: int) -> None:
    result = drive("mutants", str(folder), str(count))
    assert result["strange"] == []
    assert result["outcomes"]["raw loaded"] == 0
    assert result["outcomes"]["sealed refused"] > count / 10
    assert sum(result["outcomes"].values()) == count
    assert result["memory"] < MEMORY


def test_mutants_are_refused_without_a_signal_or_a_hang(tmp_path: Path) -> None:
    check_mutants(tmp_path, 300)


@pytest.mark.full
def test_mutants_are_refused_without_a_signal_or_a_hang_full(tmp_path: Path) -> None:
    check_mutants(tmp_path, 3000)


def test_positive_control_a_reader_without_the_seal_is_caught(tmp_path: Path) -> None:
    command = [sys.executable, str(DRIVER), "mutants-trusted", str(tmp_path), "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode < 0 or json.loads(done.stdout)["outcomes"]["raw loaded"] > 10
