"""Promises of the project as a whole: what importing costs, what installing brings, and that its papers agree."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml

import sslprofiler_core
from sslprofiler_core.cli import main

ROOT = Path(__file__).resolve().parents[1]


def _heavy_imports(code: str) -> set[str]:
    """Run code in a fresh interpreter: which slow packages has it imported?"""
    report = "import sys\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    modules = done.stdout.rpartition("MODULES")[2].split()
    heavy = {"torch", "torchvision", "timm", "umap", "numba", "sklearn", "pandas", "pyarrow", "matplotlib", "scipy"}
    return (heavy | {"napari", "qtpy", "magicgui"}) & set(modules)


def _help(*arguments: str) -> str:
    return (
        "from sslprofiler_core.cli import main\n"
        f"try:\n    main({[*arguments, '--help']!r})\nexcept SystemExit as end:\n    assert not end.code"
    )


def test_no_help_imports_anything_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"simulate", "inspect", "train", "embed", "profile", "evaluate", "demo"} <= set(commands)
    assert _heavy_imports("\n".join([_help(), *(_help(command) for command in commands)])) == set()


@pytest.mark.parametrize(
    "room", ["plates", "recipes", "augment", "model", "training", "profiling", "evaluation", "exploring"]
)
def test_naming_a_room_imports_nothing_heavy(room: str) -> None:
    assert _heavy_imports(f"import sslprofiler_core.{room}") == set()


def test_base_dependencies_bring_no_qt_binding() -> None:
    base = [line.partition(";")[0].strip() for line in requires("napari-sslprofiler") or () if "extra ==" not in line]
    names = {re.split(r"[\s<>=!~\[]", line)[0].lower() for line in base}
    assert "napari" in names
    assert not names & {"pyqt5", "pyqt6", "pyside2", "pyside6"}
    assert not any("napari[" in line for line in base)


def test_versions_agree() -> None:
    version = sslprofiler_core.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_modules_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "src").rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}


def test_links_in_the_documents_lead_somewhere() -> None:
    links = [
        (document, target)
        for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
        if not target.startswith("http")
    ]
    assert links
    assert [(document.name, target) for document, target in links if not (document.parent / target).exists()] == []


@pytest.mark.parametrize(
    "room", sorted(path.parent.name for path in (ROOT / "src/sslprofiler_core").glob("*/__init__.py"))
)
def test_a_room_offers_what_it_names(room: str) -> None:
    module = importlib.import_module(f"sslprofiler_core.{room}")
    assert module.__all__ and set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
