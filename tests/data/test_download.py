"""Downloads end in the right file or in a refusal, never in a file that is wrong, whatever a server does."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from cnnkit.data.downloading.download import download
from cnnkit.errors import DataError
from tests.data import servers
from tests.data.servers import MISBEHAVIOUR, NAME, Answer, Server, cuts, honest, serving, stalls

CONTENT = np.random.default_rng(5).bytes(200_000)  # more than what comes at a time
OFFSETS = np.linspace(0, len(CONTENT) - 1, 50).astype(int).tolist()
Downloader = Callable[[str, Path, int | None], None]
PROCESS = """
import hashlib, sys
from pathlib import Path
from cnnkit.data.downloading.download import download
from cnnkit.errors import DataError

def check(path):
    if hashlib.sha256(path.read_bytes()).hexdigest() != sys.argv[3]:
        raise DataError("another file")

print("ready", flush=True)
try:
    download("images.gz", [sys.argv[1]], Path(sys.argv[2]), check)
except KeyboardInterrupt:
    sys.exit(130)
"""


def check(path: Path) -> None:
    if path.read_bytes() != CONTENT:
        raise DataError(f"{path}: another file")


def fetch(url: str, folder: Path, size: int | None) -> None:
    download(NAME, [url], folder, check, size)


def naive(url: str, folder: Path, size: int | None) -> None:
    """What is often written: append to the file itself what the server sends for the rest of it."""
    path = folder / NAME
    part = folder / f"{NAME}.part"
    if part.exists():
        part.rename(path)
    have = path.stat().st_size if path.exists() else 0
    try:
        with (
            requests.get(
                url + NAME, headers={"Range": f"bytes={have}-"} if have else {}, stream=True, timeout=9
            ) as got,
            path.open("ab") as file,
        ):
            for chunk in got.iter_content(4096):
                file.write(chunk)
    except requests.RequestException as error:
        raise DataError("no download") from error


def outcome(downloader: Downloader, server: Server, folder: Path, size: int | None) -> str:
    """What came of a download: "right", "refused", or "bad" for a file that is wrong, or a refusal that left one."""
    try:
        downloader(server.url, folder, size)
        refused = False
    except DataError:
        refused = True
    if not (folder / NAME).exists():
        return "refused" if refused else "bad"
    return "right" if (folder / NAME).read_bytes() == CONTENT and not refused else "bad"


def outcomes(downloader: Downloader, answer: Answer, server: Server, folder: Path, size: int | None) -> list[str]:
    """What comes of 50 downloads, each continuing a part that was left at another byte."""
    found = []
    for offset in OFFSETS:
        for path in folder.iterdir():
            path.unlink()
        (folder / f"{NAME}.part").write_bytes(CONTENT[:offset])
        server.answer, server.asked = answer, []
        found.append(outcome(downloader, server, folder, size))
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.downloading.transfer.PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as made:
        yield made


@pytest.mark.parametrize("size", [None, len(CONTENT)], ids=["size unknown", "size known"])
@pytest.mark.parametrize("answer", MISBEHAVIOUR, ids=lambda answer: answer.__name__)
def test_a_server_that_misbehaves_leaves_no_wrong_file(
    server: Server, tmp_path: Path, answer: Answer, size: int | None
) -> None:
    found = outcomes(fetch, answer, server, tmp_path, size)
    assert "bad" not in found
    if answer in (servers.ignores_ranges, servers.sends_another_range, servers.refuses_ranges, servers.compresses):
        assert set(found) == {"right"}
    server.answer = honest
    assert outcome(fetch, server, tmp_path, size) == "right"  # and what it left is no obstacle
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_harness_finds_what_a_naive_download_leaves(server: Server, tmp_path: Path) -> None:
    bad = {answer.__name__: outcomes(naive, answer, server, tmp_path, None).count("bad") for answer in MISBEHAVIOUR}
    assert bad["ignores_ranges"] >= 49
    assert bad["sends_other_bytes"] == bad["sends_a_login_page"] == 50
    assert sum(count > 0 for count in bad.values()) >= 8
    (tmp_path / NAME).unlink()
    server.answer, server.asked = cuts(1000), []
    assert outcome(naive, server, tmp_path, None) == "bad"


@pytest.mark.parametrize("size", [None, len(CONTENT)], ids=["size unknown", "size known"])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("known", [True, False], ids=["announced", "not announced"])
def test_connections_cut_at_50_bytes(
    server: Server, tmp_path: Path, size: int | None, ranges: bool, known: bool
) -> None:
    """Where the cut can be seen, the download goes on by itself; else it is refused."""
    for offset in OFFSETS:
        (tmp_path / NAME).unlink(missing_ok=True)
        server.answer, server.asked = cuts(offset, known=known, ranges=ranges), []
        found = outcome(fetch, server, tmp_path, size)
        assert found == ("right" if offset and (known or size) else "refused"), offset
        if found == "right" and ranges:
            assert server.asked == [None, offset]
        if found == "refused":
            assert outcome(fetch, server, tmp_path, size) == "right"
        assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_server_that_cuts_every_time_is_given_up_and_the_part_kept(server: Server, tmp_path: Path) -> None:
    server.answer = cuts(70_000, once=False)
    with pytest.raises(DataError) as caught:
        fetch(server.url, tmp_path, None)
    part = tmp_path / f"{NAME}.part"
    assert str(caught.value).startswith(f"no mirror gave it:\n  {server.url}{NAME}: the connection was cut")
    assert str(caught.value).endswith(
        f"\n  70,000 bytes are downloaded and kept in {part}: the next attempt resumes from there"
    )
    assert server.asked == [None, *[70_000] * 4]
    assert part.read_bytes() == CONTENT[:70_000]
    server.answer, server.asked = honest, []
    fetch(server.url, tmp_path, None)
    assert server.asked == [70_000]


def test_a_part_goes_on_at_the_next_mirror(server: Server, tmp_path: Path) -> None:
    with serving(CONTENT) as second:
        server.answer = lambda made, handler, offset: (
            servers.is_broken(made, handler, offset) if offset else cuts(50_000)(made, handler, offset)
        )
        download(NAME, [server.url, second.url], tmp_path, check)
        assert (server.asked, second.asked) == ([None, 50_000], [50_000])


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_whole_is_taken_and_one_that_is_wrong_is_replaced(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    for part, asked in (
        (CONTENT, [len(CONTENT)]),
        (CONTENT[::-1], [len(CONTENT), None]),
        (CONTENT + b"more", [len(CONTENT) + 4, None]),
        (b"<html>", [6, None]),
    ):
        server.asked = []
        (tmp_path / f"{NAME}.part").write_bytes(part)
        assert outcome(fetch, server, tmp_path, size) == "right"
        assert server.asked == asked
        (tmp_path / NAME).unlink()
        server.answer, server.asked = servers.ignores_ranges, []
        (tmp_path / f"{NAME}.part").write_bytes(part)
        assert outcome(fetch, server, tmp_path, size) == "right"
        assert server.asked == asked[:1]
        (tmp_path / NAME).unlink()
        server.answer = honest


def test_too_much_is_refused_before_it_comes_and_while_it_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="expected a file of 1,000 bytes, the server has one of 200,000"):
        fetch(server.url, tmp_path, 1000)
    monkeypatch.setattr("cnnkit.data.downloading.transfer.MAX_DOWNLOAD_BYTES", 5_000)
    with pytest.raises(DataError, match="expected at most 5,000 bytes, the server has 200,000"):
        fetch(server.url, tmp_path, None)
    server.answer = servers.sends_more_without_a_length
    with pytest.raises(DataError, match="expected at most 5,000 bytes, the server sends more"):
        fetch(server.url, tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", servers.DRIPPING)
def test_a_server_that_lets_it_drip_is_left_for_the_next(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr("cnnkit.data.downloading.arrivals.TIMEOUT", 0.3)
    server.answer = servers.DRIPPING[where]
    with serving(CONTENT) as second:
        download(NAME, [server.url, second.url], tmp_path, check)  # it would wait forever if the server were not left
        assert len(server.asked) <= 5
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_connections_that_bring_a_byte_each_are_in_vain(server: Server, tmp_path: Path) -> None:
    server.answer = servers.sends_a_byte_for_each_connection
    with pytest.raises(DataError, match="4 bytes are downloaded and kept in"):
        fetch(server.url, tmp_path, len(CONTENT))
    assert server.asked == [None, 1, 2, 3]


def test_connections_are_counted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.downloading.transfer.PROGRESS", 1)
    monkeypatch.setattr("cnnkit.data.downloading.transfer.CONNECTIONS", 7)
    server.answer = servers.sends_a_byte_for_each_connection
    with pytest.raises(DataError, match="the connection was cut 7 times\n  7 bytes are downloaded"):
        fetch(server.url, tmp_path, None)
    assert len(server.asked) == 7


@pytest.mark.parametrize("size", [None, len(CONTENT)], ids=["size unknown", "size known"])
def test_a_login_page_takes_nothing_from_what_has_come(server: Server, tmp_path: Path, size: int | None) -> None:
    part = tmp_path / f"{NAME}.part"
    part.write_bytes(CONTENT[:150_000])
    server.answer = servers.sends_a_login_page_without_a_length
    with pytest.raises(DataError, match=r"(server sent only|was cut after) 19 .*\n  150,000 bytes are downloaded and"):
        fetch(server.url, tmp_path, size)
    assert part.read_bytes() == CONTENT[:150_000]
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    server.answer, server.asked = honest, []
    fetch(server.url, tmp_path, size)
    assert server.asked == [150_000]


def test_a_start_again_that_is_cut_is_kept_if_it_is_further(server: Server, tmp_path: Path) -> None:
    part = tmp_path / f"{NAME}.part"
    for end, kept in ((100_000, 150_000), (180_000, 180_000)):
        part.write_bytes(b"?" * 150_000)
        server.answer, server.asked = cuts(end, ranges=False, once=False), []
        with pytest.raises(DataError, match=f"{kept:,} bytes are downloaded and kept"):
            fetch(server.url, tmp_path, None)
        assert part.read_bytes() == (CONTENT[:end] if kept == end else b"?" * 150_000)


def test_what_has_come_is_in_the_part_at_once(server: Server, tmp_path: Path) -> None:
    server.answer = stalls(1000)
    process = start(server, tmp_path)
    part = tmp_path / f"{NAME}.part"
    until = time.monotonic() + 600
    while not part.exists() or part.stat().st_size < 1000:
        assert time.monotonic() < until
        time.sleep(0.01)
    server.go_on.set()
    assert process.wait(600) == 0
    process.communicate()


def test_a_link_in_the_place_of_the_part_is_not_followed(server: Server, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"{NAME}.part").symlink_to(precious)
    with pytest.raises(DataError, match=r"cannot write to the folder: .*symbolic links"):
        fetch(server.url, folder, None)
    assert precious.read_bytes() == b"mine"


def start(server: Server, folder: Path, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROCESS, server.url, str(folder), hashlib.sha256(CONTENT).hexdigest()]
    environment = os.environ | {"NO_PROXY": "127.0.0.1", "TERM": "xterm"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_process_leaves_a_part_that_is_continued(
    server: Server, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    server.answer = stalls(150_000)
    process = start(server, tmp_path)
    assert server.stalled.wait(600)
    part = tmp_path / f"{NAME}.part"
    while not part.exists() or part.stat().st_size < 2 * 2**16:
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(600) == code
    assert process.communicate()[1] == b""  # no terminal: no bar
    kept = part.stat().st_size
    assert part.read_bytes() == CONTENT[:kept]
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    server.answer = honest
    assert outcome(fetch, server, tmp_path, None) == "right"
    assert server.asked == [None, kept]


def test_two_processes_that_want_one_file_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.answer = stalls(1000)
    processes = [start(server, tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
    assert server.stalled.wait(600)
    time.sleep(0.3)  # for the others to ask, if they did not wait
    server.go_on.set()
    assert [process.wait(600) for process in processes] == [0, 0, 0]
    assert all(process.communicate()[1] == b"" for process in processes)
    assert server.asked == [None]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_terminal_shows_the_progress(server: Server, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    terminal, stderr = pty.openpty()
    process = start(server, tmp_path, stderr)
    os.close(stderr)
    shown = b""
    try:
        while piece := os.read(terminal, 2**16):
            shown += piece
    except OSError:  # how Linux says that nobody writes to it any more
        pass
    os.close(terminal)
    assert process.wait(600) == 0
    assert process.communicate()[0] == b"ready\n"
    assert NAME.encode() in shown
    assert b"200.0" in shown


def test_what_is_no_connection_is_told_in_few_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_names(host: str, *given: Any, **named: Any) -> Any:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found(host, *given, **named)

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", without_names)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("cnnkit.data.downloading.arrivals.TIMEOUT", 0.5)
    with socket.socket() as silent, socket.socket() as closed:
        for one in (silent, closed):
            one.bind(("127.0.0.1", 0))
        silent.listen()
        for host, reason in (
            (f"127.0.0.1:{closed.getsockname()[1]}", "no connection to 127.0.0.1: Connection refused"),
            (f"127.0.0.1:{silent.getsockname()[1]}", "(no answer|less than 32,768 bytes arrived) in 0.5 seconds"),
            ("nowhere.invalid", "no address is known for nowhere.invalid: is this machine offline\\?"),
        ):
            with pytest.raises(DataError, match=f"http://{host}/images.gz: {reason}$"):
                fetch(f"http://{host}/", tmp_path, None)
