"""What a notebook shows of a registry and of a version."""

from __future__ import annotations

from pathlib import Path

from cnnkit import Registry, Sequential


def test_a_registry_is_a_table_of_versions_and_a_version_says_where_it_is(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    model = Sequential(["Flatten()", "Dense(2)"], (1, 2, 2))
    version = registry.save(model, "tiny", metrics={"accuracy": 0.5}, dataset={"name": "Digits()", "digest": ""})
    registry.set_alias("tiny@1", "best")
    page = registry._repr_html_()
    assert "<td" in page
    for text in ("tiny@1", "best", "Digits()"):
        assert text in page
    assert "tiny@1" in repr(version)
    assert "tiny@1" in version._repr_html_()
