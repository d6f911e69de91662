"""Available memory is the least of what the machine, the control groups and the address space leave."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from cnnkit.network.execution.available_memory import available_memory, present_memory

GIB = 2**30


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def write(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def machine(root: Path) -> Path:
    return write(root, {"proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable:   {8 * 2**20} kB\nBuffers: 5 kB"})


def test_nothing_is_known_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    assert present_memory(tmp_path) == 0


def test_of_the_machine(tmp_path: Path) -> None:
    assert available_memory(machine(tmp_path)) == 8 * GIB


@pytest.mark.parametrize("group", ["sys/fs/cgroup", "sys/fs/cgroup/user", "sys/fs/cgroup/user/me"])
def test_of_control_groups_version_2(tmp_path: Path, group: str) -> None:
    """The limit of any group above counts; page cache that it can give up is not in use."""
    stat = f"anon 5\nfile 7\ninactive_file {GIB // 2}\nactive_file {GIB // 2}"
    limit = {f"{group}/memory.max": 4 * GIB, f"{group}/memory.current": 2 * GIB, f"{group}/memory.stat": stat}
    root = write(machine(tmp_path), {"proc/self/cgroup": "0::/user/me", **limit})
    assert available_memory(root) == 3 * GIB
    write(root, {f"{group}/memory.max": "max"})
    assert available_memory(root) == 8 * GIB


def test_of_control_groups_version_1(tmp_path: Path) -> None:
    """In a container the path of the group is not there, but the top is the group itself."""
    top = "sys/fs/cgroup/memory"
    root = write(
        machine(tmp_path),
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n1:name=systemd:/b",
            f"{top}/memory.limit_in_bytes": 2 * GIB,
            f"{top}/memory.usage_in_bytes": GIB,
            f"{top}/memory.stat": f"cache 1\ntotal_inactive_file {GIB // 4}\ntotal_active_file 0",
        },
    )
    assert available_memory(root) == GIB + GIB // 4


def test_of_a_group_that_is_full(tmp_path: Path) -> None:
    files = {"memory.max": GIB, "memory.current": 2 * GIB, "memory.stat": "anon 5"}
    limit = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert available_memory(write(tmp_path, {"proc/self/cgroup": "0::/", **limit})) == 0


def test_of_the_address_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(machine(tmp_path), {"proc/self/statm": "1000 100 50 1 0 20 0"})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (GIB, GIB))
    assert available_memory(root) == GIB - 1000 * resource.getpagesize()
    assert present_memory(root) == 100 * resource.getpagesize()
