"""The notebooks run from top to bottom in an empty folder; what they gave is not kept in their files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first-steps", "layer-plugin", "own-images"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path: Path) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason='nbclient is not installed: pip install "cnnkit[dev]"')
    pytest.importorskip("ipykernel", reason='ipykernel is not installed: pip install "cnnkit[dev]"')
    nbformat = pytest.importorskip("nbformat")
    for package in ("matplotlib", "PIL"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    for folder in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(folder, str(tmp_path / folder.lower()))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path.parents[2]), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "work").mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path / "work")}}
    )
    client.execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    given = [output for cell in code for output in cell.outputs]
    assert any("text/html" in output.get("data", {}) for output in given), "models and runs show themselves as HTML"
    assert not [output for output in given if output.get("name") == "stderr"]
