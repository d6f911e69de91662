"""The documentation runs: every fenced block of the README and of docs/ does what a reader would do with it.

A page is read from top to bottom in an empty folder. A block with a title, such as `toml title="small.toml"`, is
written to the file of that name, and a recipe among them is loaded. Of the others, `python` runs in one namespace for
the whole page, `sh` line by line, `toml` is parsed, and `text` is only read.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from cnnkit.cli import main
from cnnkit.components import installed_catalog
from cnnkit.errors import RecipeError
from cnnkit.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".github/SECURITY.md")),
    *sorted(path for folder in ("docs", "docs/mathematics") for path in (ROOT / folder).glob("*.md")),
]
SET_UP = {'pip install ".[all]"', 'pip install -e ".[dev]"', "pytest", "bash .ci/run"}
"""Lines that change the reader's environment or run this very test; they are checked, not run."""
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INFO = re.compile(r'(?P<language>python|sh|toml|text)(?: title="(?P<title>[\w./-]+)")?')


@dataclass(frozen=True)
class Block:
    """One fenced block; `where` is its page and line."""

    language: str
    title: str | None
    body: str
    line: int
    where: str


def blocks(text: str, name: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        info = INFO.fullmatch(match["info"].strip())
        assert info, f"{name}:{line}: expected python, sh, toml or text, and perhaps a title, got {match['info']!r}"
        found.append(Block(info["language"], info["title"], match["body"], line, f"{name}:{line}"))
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(found), f"{name} has a fence without its pair"
    return found


@dataclass
class Reader:
    """Someone who does in `folder` what a page says."""

    folder: Path
    namespace: dict[str, Any] = field(default_factory=dict)

    def read(self, text: str, name: str) -> None:
        """Do all of a page."""
        for block in blocks(text, name):
            try:
                self.do(block)
            except BaseException as error:
                error.add_note(f"in the block at {block.where}")
                raise

    def do(self, block: Block) -> None:
        """Do one block."""
        if block.title:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body, "utf-8")
        if block.language == "toml":
            self.check_toml(block)
        elif block.language == "python" and not block.title:
            file = self.folder / f"{block.where.replace('/', '_')}.py"
            file.write_text("\n" * block.line + block.body, "utf-8")  # tracebacks have the page's line numbers
            self.namespace = runpy.run_path(str(file), {k: v for k, v in self.namespace.items() if k[:2] != "__"})
        elif block.language == "sh":
            for command in commands(block):
                self.run(command)

    def check_toml(self, block: Block) -> None:
        """It can be parsed and, if it is a recipe, loaded."""
        if "model" in tomllib.loads(block.body):
            Recipe.from_toml(block.body, block.where)

    def run(self, command: str) -> None:
        """Run one command line in the folder; what it installs goes into a folder of the page."""
        words = shlex.split(command)
        site = self.folder / "site"
        match words:
            case _ if command in SET_UP:
                return
            case ["cnnkit", *arguments]:
                run_here(command, arguments)
                return
            case ["pip", "install", path] | ["pip", "install", "-e", path] if path.startswith("./"):
                path = self.without_extras(path)
                options = ["--no-index", "--no-build-isolation", "--no-deps", "--no-compile", "--target", str(site)]
                words = [sys.executable, "-m", "pip", "install", "--quiet", *options, path]
            case ["pytest", *_]:
                words = [sys.executable, "-m", *words, "-p", "no:cacheprovider"]
            case _:
                raise AssertionError(f"the runner does not know how to try {command!r}")
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command!r} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        if words[1:3] == ["-m", "pip"]:
            importlib.invalidate_caches()  # this process has read before what is installed
            installed_catalog.cache_clear()

    def without_extras(self, path: str) -> str:
        """The folder of `./X[test]`, whose extras must be among those that it declares; they are installed here."""
        match = re.fullmatch(r"([^\[]*)(?:\[([\w,]+)\])?", path)
        assert match, f"expected ./folder or ./folder[extras], got {path!r}"
        found, extras = match.groups()
        if extras:
            declared = tomllib.loads((self.folder / found / "pyproject.toml").read_text("utf-8"))["project"]
            assert set(extras.split(",")) <= set(declared["optional-dependencies"]), f"{path}: no such extra"
        return cast(str, found)


def run_here(command: str, arguments: list[str]) -> None:
    """Run a command of cnnkit in this process, which need not import everything again for each; it must succeed."""
    handler, printed = signal.getsignal(signal.SIGINT), io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.raises(SystemExit) as stop,
    ):
        main(arguments)
    signal.signal(signal.SIGINT, handler)  # a process that was interrupted does not listen any more
    assert not stop.value.code, f"{command!r} ended with {stop.value.code}:\n{printed.getvalue()}"


def commands(block: Block) -> list[str]:
    """The commands of a block, one for each line or part of a line, without comments."""
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in block.body.splitlines())
    return [command.strip() for line in lines for command in line.split("&&") if command.strip()]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = set(sys.modules)
    installed_catalog.cache_clear()
    yield Reader(tmp_path)
    installed_catalog.cache_clear()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, reader: Reader) -> None:
    reader.read(page.read_text("utf-8"), page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page.read_text("utf-8"), page.parent) == []


def dead_links(text: str, folder: Path) -> list[str]:
    """The relative links of a page that lead to no file."""
    targets = re.findall(r"\]\((?!https?:)([^)#\s]*)[^)]*\)", FENCE.sub("", text))
    return [target for target in targets if not (folder / target).exists()]


def test_set_up_lines_name_what_exists() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for line in SET_UP:
        assert line in text, f"no page says {line!r} any more: take it out of SET_UP"
        assert set(re.findall(r"\.\[(\w+)\]", line)) <= set(extras)
    assert (ROOT / ".ci" / "run").is_file()


def test_the_readme_has_two_set_up_commands_one_to_run_and_one_to_test() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    said = [command for block in blocks(text, "README.md") if block.language == "sh" for command in commands(block)]
    assert [command for command in said if command in SET_UP] == [
        'pip install ".[all]"',
        'pip install -e ".[dev]"',
        "pytest",
    ]
    assert said[1] == "cnnkit train"


@pytest.mark.parametrize(
    ("page", "error", "message"),
    [
        ("```python\nx = 1\n```\n```python\nif x != 2:\n    raise ValueError(x)\n```\n", ValueError, "1"),
        ("```python\nundefined\n```\n", NameError, "undefined"),
        ("```sh\ncnnkit no-such-command\n```\n", AssertionError, "ended with 2"),
        ("```sh\ncurl example.org\n```\n", AssertionError, "does not know how to try"),
        ('```sh\npip install ".[nothing]"\n```\n', AssertionError, "does not know how to try"),
        ("```toml\na = \n```\n", tomllib.TOMLDecodeError, "Invalid value"),
        (
            '```toml title="a.toml"\n[model]\nname = "a"\n```\n',
            RecipeError,
            "page.md:1 cannot be used",
        ),
        ("```rust\n```\n", AssertionError, "expected python, sh, toml or text"),
        ("```text\n", AssertionError, "without its pair"),
        ("```python\npass\n```\n ```\n", AssertionError, "without its pair"),
    ],
)
def test_the_runner_finds_what_is_wrong(page: str, error: type[Exception], message: str, reader: Reader) -> None:
    with pytest.raises(error, match=re.escape(message)):
        reader.read(page, "page.md")


def test_what_a_page_runs_pytest_on_is_installed_with_its_tests_needs() -> None:
    text = (ROOT / "docs" / "guide-plugins.md").read_text("utf-8")
    said = [
        command for block in blocks(text, "guide-plugins.md") if block.language == "sh" for command in commands(block)
    ]
    tested = [command.split()[1] for command in said if command.startswith("pytest ")]
    assert tested
    for name in tested:  # cnnkit itself does not bring pytest along
        assert f'pip install -e "./{name}[test]"' in said


def test_the_runner_refuses_an_extra_that_is_not_declared(reader: Reader) -> None:
    (reader.folder / "x").mkdir()
    (reader.folder / "x" / "pyproject.toml").write_text("[project.optional-dependencies]\ntest = []\n")
    assert reader.without_extras("./x[test]") == "./x"
    with pytest.raises(AssertionError, match="no such extra"):
        reader.without_extras("./x[tests]")


def test_the_runner_shares_names_and_files(reader: Reader) -> None:
    page = '```python\nx = 1\n```\n```python title="a/b.py"\ny = 2\n```\n```python\nz = open("a/b.py").read()\n```\n'
    reader.read(page.replace('open("a/b.py").read()', '__import__("pathlib").Path("a/b.py").read_text()'), "page.md")
    assert reader.namespace["x"] == 1
    assert reader.namespace["z"] == "y = 2\n"


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    text = "[a](here.md) [b](here.md#part) [c](https://example.org) [d](#part) [e](gone.md)"
    assert dead_links(text, tmp_path) == ["gone.md"]
