"""Texts folded to a width: nothing is lost, no word is cut, and a command stays one command."""

from __future__ import annotations

import shlex

import pytest

from cnnkit.text_folding import columns, fold, fold_command

PATH = "/data/" + "x" * 40
TEXTS = [
    "error: the file is damaged: expected 100 bytes, got 7, so it was cut short while it was copied",
    f"error: {PATH}: expected an image, this is a web page; download it again",
    f"several:\n  {PATH}\n  a second line that is long enough to be folded once or twice\nthe end",
    "表 " * 30,
    "",
    " ",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [20, 40, 60])
def test_only_a_word_alone_is_longer_than_the_width(text: str, width: int) -> None:
    folded = fold(text, width)
    assert folded.split() == text.split()
    for line in folded.split("\n"):
        assert columns(line) <= width or (len(line.split()) == 1 and columns(line.strip()) > width)


def test_lines_that_go_on_are_set_further_in() -> None:
    assert fold("  one two three four", 12) == "  one two\n    three\n    four"
    assert fold("one two three", 8, 0) == "one two\nthree"
    assert fold("kind  one two three", 12, 6) == "kind  one\n      two\n      three"
    assert fold(f"a {PATH} b", 20) == f"a\n{PATH}\n  b"


def test_a_command_inside_of_a_message_stays_whole() -> None:
    text = 'error: OnnxRuntime() needs onnxruntime, which is not installed; run: pip install "cnnkit[runtimes]"'
    assert fold(text, 40).split("\n")[-1] == '  pip install "cnnkit[runtimes]"'
    assert (
        fold("to see all of them, use `cnnkit models list`.", 30) == "to see all of them, use\n  `cnnkit models list`."
    )
    assert fold("an odd ` stands for nothing here", 20) == "an odd ` stands for\n  nothing here"


def test_what_fits_stays_as_it_is() -> None:
    text = "a   b\n\n    c  d"
    assert fold(text, 20) == text


@pytest.mark.parametrize(
    "command",
    [
        "  cnnkit evaluate tiny@1 --dataset 'ImageFolder(\"a folder\", size=(64, 64))' --registry /models/here",
        'cnnkit plot tiny@1 --dataset \'Table("digits with blanks in it.csv", "label")\' -o "a b"',
    ],
)
def test_a_folded_command_is_still_one(command: str) -> None:
    folded = fold_command(command, 40)
    assert folded.count(" \\\n") > 1
    assert shlex.split(folded.replace("\\\n", "")) == shlex.split(command)
    assert max(map(len, folded.split("\n"))) <= 54  # as long as its longest argument


@pytest.mark.parametrize("command", ["short", "it's not closed " * 9, "cnnkit a 'it'\"'\"'s one argument' " * 3])
def test_a_command_that_cannot_be_folded_stays_as_it_is(command: str) -> None:
    assert fold_command(command, 40) == command
