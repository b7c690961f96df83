"""Room-level names that import their module when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attach(package: str, names: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give a package lazy public names.

    Parameters
    ----------
    package
        The package's ``__name__``.
    names
        Submodule -> public names that it defines.

    Returns
    -------
    The ``__getattr__`` and ``__dir__`` that the package's ``__init__`` binds. Our choice: ``sslprofiler --help`` and
    napari's start must not pay for torch.
    """
    home = {name: module for module, members in names.items() for name in members}

    def __getattr__(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(home)

    return __getattr__, __dir__
