"""`plugins check`: a table, a document, a page to publish, and the exit code."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.testing.test_cases import Backwards, Lost, Needing, Straight, use


def test_the_command_prints_verdicts_and_writes_a_page(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, cnnkit_layers=[Straight])
    good = cli("plugins", "check", "cnnkit-cases", "--report", "page.md", "--speed")
    assert good.code == 0
    lines = [line.split() for line in good.out.splitlines()]
    assert any(" ".join(line).endswith("gradient expected failure it is climbed, not descended") for line in lines)
    summary = "cnnkit-cases: 23 checks passed, 0 failed, 1 expected failure, with cnnkit 0.1.0"
    assert good.out.endswith(f" times as long as Conv2D(3, 3, padding=1)\n{summary}\n")
    page = (tmp_path / "page.md").read_text()
    assert page.startswith(f"# Conformance\n\n{summary}\n\n| component |")
    assert "| Straight() on (3, 8, 7) | layer | tiles | passed |  |\n" in page
    use(monkeypatch, cnnkit_layers=[Backwards])
    bad = cli("plugins", "check", "Backwards()", "--json")
    assert bad.code == 1
    assert bad.document["ok"] is False
    assert Counter(one["verdict"] for one in bad.document["checks"]) == {"passed": 22, "failed": 1}
    use(monkeypatch, cnnkit_layers=[Needing])
    assert cli("plugins", "check", "cnnkit-cases").code == 1  # nothing was checked
    assert json.loads(cli("plugins", "check", "cnnkit-cases", "--json").out)["ok"] is False
    assert cli("plugins", "check", "nowhere").err.startswith("error: expected the name of an installed distribution")


def test_a_reason_of_several_lines_stands_below_the_table(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, cnnkit_layers=[Lost])
    found = cli("plugins", "check", "Lost()", "--report", "page.md")
    assert "\\n" not in found.out
    assert "ArithmeticError: no way (all of it below)\n" in found.out
    _, _, rest = found.out.partition("\nLost() on (3, 8, 7) - gradient:\n")
    assert rest.splitlines()[1].startswith("  and no place (at tests/testing/test_cases.py:")
    assert "ArithmeticError: no way<br>and no place (at " in (tmp_path / "page.md").read_text()
