"""What npe2's own validation lets pass: commands and menus that do not exist, and imports at discovery."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

from npe2 import PluginManifest

# The menus that napari lets plugins contribute to; it drops any other `napari/...` in silence.
NAPARI_MENUS = {f"napari/file/{name}" for name in ("new_layer", "io_utilities", "acquire")} | {
    f"napari/layers/{name}"
    for name in (
        "visualize",
        "annotate",
        "data",
        "filter",
        "transform",
        "measure",
        "register",
        "segment",
        "track",
        "classify",
    )
}


def _users(manifest: PluginManifest) -> set[str]:
    """Every command that a contribution refers to."""
    found = manifest.contributions
    used = {
        contribution.command
        for kind in (found.readers, found.writers, found.widgets, found.sample_data)
        for contribution in kind or ()
        if hasattr(contribution, "command")
    }
    for items in (found.menus or {}).values():
        used |= {item.command for item in items if hasattr(item, "command")}
    return used


def test_every_command_used_is_declared_and_every_declared_one_used(manifest: PluginManifest) -> None:
    declared = {command.id for command in manifest.contributions.commands or ()}
    assert _users(manifest) == declared


def test_every_python_name_is_a_documented_callable_of_a_leaf_module(manifest: PluginManifest) -> None:
    commands = manifest.contributions.commands or []
    assert commands
    for command in commands:
        assert command.python_name is not None
        module_name, name = command.python_name.split(":")
        module = importlib.import_module(module_name)
        assert not hasattr(module, "__path__"), f"{module_name} is a package"
        assert callable(getattr(module, name))
        assert inspect.getdoc(getattr(module, name))


def test_menus_and_submenus_exist(manifest: PluginManifest) -> None:
    found = manifest.contributions
    submenus = {submenu.id for submenu in found.submenus or ()}
    menus = found.menus or {}
    for name, items in menus.items():
        assert name in NAPARI_MENUS | submenus
        for item in items:
            if hasattr(item, "submenu"):
                assert item.submenu in submenus


def test_the_root_manifest_is_the_packages() -> None:
    root = Path(__file__).resolve().parents[2]
    if (root / "napari.yaml").is_symlink():
        assert (root / "napari.yaml").resolve() == root / "src/napari_sslprofiler/napari.yaml"
    else:  # a clone without symbolic links holds the target as text
        assert (root / "napari.yaml").read_text().strip() == "src/napari_sslprofiler/napari.yaml"


def test_discovery_imports_nothing_heavy() -> None:
    """napari's start discovers every plugin: ours must cost a YAML file, no more."""
    code = """
import sys
from npe2 import PluginManager
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-sslprofiler")
assert manifest.display_name == "SSLProfiler"
heavy = {"torch", "umap", "pandas", "sklearn", "matplotlib", "timm", "napari", "sslprofiler_core"}
print(*sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
