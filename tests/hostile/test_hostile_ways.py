"""Hostile files on every way through cnnkit, under strace and an audit hook: nothing is started, and nothing opened
but the registry, the cache and what the command was given.

A few files by default, all of them in full, where strace may trace.
"""

from __future__ import annotations

from pathlib import Path

import hostile_calls  # type: ignore[import-not-found]  # beside this file
import hostile_files  # type: ignore[import-not-found]  # in tests/registry
import hostile_ways  # type: ignore[import-not-found]  # beside this file
import hostile_zips  # type: ignore[import-not-found]  # in tests/registry, as is the next but one
import pytest
from test_registry_system_calls import may_trace  # type: ignore[import-not-found]  # in tests/registry

pytest.importorskip("onnxruntime")
needs_strace = pytest.mark.skipif(not may_trace(), reason="strace is not installed, or may not trace")
SAMPLE = [
    ("version external_storage", "load"),
    ("version no_hdf5", "load"),
    ("version dataset_npz", "evaluate"),
    ("version labels_paths", "explain a picture"),
    ("version origin_of_the_loss", "explain"),
    ("version metrics_code", "evaluate"),
    ("version labels_shell", "export"),
    ("version dataset_in_the_working_folder", "predict"),
    ("bundle symbolic_link", "import"),
    ("ONNX no_groups", "validate"),
    ("ONNX data_elsewhere", "validate"),
]
PARTS = 24
"""Of all that is done in full; each takes about a minute."""
Step = tuple[hostile_ways.File, str]


def check(folder: Path, steps: list[Step]) -> None:
    problems, calls, events = {}, 0, 0
    for file, way in steps:
        seen = hostile_ways.taken(folder, file, way)
        calls, events = calls + seen.calls, events + seen.events
        if seen.problems:
            problems[f"{file.name}, {way}"] = seen.problems
    assert problems == {}
    assert calls > 300 * len(steps)  # else they were not watched
    assert events > 1000 * len(steps)


@pytest.fixture
def place(tmp_path: Path) -> hostile_ways.Place:
    return hostile_ways.Place(tmp_path / "place")


def test_the_files_are_many() -> None:
    files = hostile_ways.files()
    assert len({file.name for file in files}) == len(files)
    assert len([file for file in files if set(file.ways) == set(hostile_ways.WAYS)]) > 150


@pytest.mark.full
def test_the_files_are_different_full(tmp_path: Path) -> None:
    files = [file.build(tmp_path) for file in hostile_ways.files()]
    assert len({*files, hostile_ways.good(tmp_path)}) == len(files) + 1


@needs_strace
@pytest.mark.parametrize("way", [*hostile_ways.WAYS, "import"])
@pytest.mark.full
def test_a_file_without_harm_takes_every_way_to_its_end_full(place: hostile_ways.Place, way: str) -> None:
    place.put(hostile_ways.BUNDLE, hostile_zips.good(hostile_ways.good(place.outside)))
    seen = place.take({**hostile_ways.WAYS, "import": hostile_ways.IMPORT}[way])
    assert (seen.code, seen.problems) == (0, [])
    assert seen.started == (2 if way == "validate" else 1)  # `uname`, and what runs a stranger's ONNX file


@needs_strace
@pytest.mark.parametrize(("file", "way"), SAMPLE)
def test_a_hostile_file_starts_nothing_and_opens_nothing_outside(tmp_path: Path, file: str, way: str) -> None:
    (chosen,) = [one for one in hostile_ways.files() if one.name == file]
    check(tmp_path, [(chosen, way)])


@needs_strace
@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_no_hostile_file_starts_anything_or_opens_anything_outside_full(tmp_path: Path, part: int) -> None:
    steps = [(file, way) for file in hostile_ways.files() for way in file.ways]
    check(tmp_path, steps[part::PARTS])


HDF5 = "import h5py; h5py.File('{registry}/net/v000001.h5')['state/dense_1.weight'][:]"
BOTH = ("audit hook: ", "strace: ")
CONTROLS = {
    "reads": ("open('{outside}/secret').close()", BOTH, "/outside/secret"),
    "reads by a relative path": ("open('../outside/secret').close()", BOTH, "../outside/secret"),
    "looks for what is not there": ("import os.path; open('/nowhere')", BOTH, "/nowhere"),
    "reads through a link": (
        "import os; os.symlink('{outside}/secret', '{out}/link'); open('{out}/link')",
        BOTH[1:],
        "<{outside}/secret>",
    ),
    "reads by a folder that is open": (
        "import os; os.open('passwd', os.O_RDONLY, dir_fd=os.open('/usr/lib/../../etc', os.O_PATH))",
        BOTH[1:],
        '"passwd"',
    ),
    "reads in HDF5": (HDF5, BOTH[1:], "{outside}/secret"),
    "writes": ("open('made', 'w')", BOTH, "made"),
    "writes what it may read": ("open('{registry}/made', 'w')", BOTH, "{registry}/made"),
    "removes": ("import os; os.unlink('{outside}/secret')", BOTH[1:], 'unlink("{outside}/secret")'),
    "starts": ("import subprocess; subprocess.run(['true'])", BOTH, "true"),
    "starts by a shell": ("import os; os.system('true')", BOTH, "true"),
    "starts with other arguments": ("import subprocess; subprocess.run(['uname', '-a'])", BOTH, "-a"),
    "starts what another way may": (f"import subprocess; subprocess.run({[*hostile_calls.ISOLATED[1:]]})", BOTH, "-P"),
    "copies itself": ("import os; os.fork() or os._exit(0)", BOTH, "fork|clone"),
    "asks the network": ("import socket; socket.create_connection(('127.0.0.1', 9))", BOTH, "socket"),
}
"""Careless commands, who must see what they do, and what must be told."""


@needs_strace
@pytest.mark.parametrize("name", CONTROLS)
def test_positive_control_a_careless_command_is_caught(place: hostile_ways.Place, name: str) -> None:
    code, observers, told = CONTROLS[name]
    folders = {part: str(place.folder / part) for part in ("outside", "out", "registry")}
    if code == HDF5:
        storage = hostile_ways.built(hostile_files.BUILDS["external_storage"], place.outside)
        place.put(hostile_ways.VERSION, storage)
    for key, value in folders.items():
        code, told = code.replace(f"{{{key}}}", value), told.replace(f"{{{key}}}", value)
    seen = hostile_calls.watched(("-P", "-c", code), place.folder, write=[place.folder / "out"])
    for observer in observers:
        problems = [problem for problem in seen.problems if problem.startswith(observer)]
        assert any(part in problem for problem in problems for part in told.split("|")), seen.problems


@needs_strace
def test_positive_control_a_dataset_that_was_not_given_is_caught(place: hostile_ways.Place) -> None:
    """The command opens it because the user says so; the harness was not told."""
    dataset = f"Arrays('{place.outside}/secret.npz')"
    way = hostile_ways.WAYS["evaluate"]
    seen = place.take(hostile_ways.Way((*way.arguments, "--dataset", dataset)))
    assert seen.code == 0
    assert {problem.partition(":")[0] for problem in seen.problems} == {"audit hook", "strace"}
    assert all("secret.npz" in problem for problem in seen.problems)
