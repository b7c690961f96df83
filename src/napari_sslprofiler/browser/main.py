"""``python -m napari_sslprofiler.browser.main TABLE``: napari with the browser on a table; ends with its window."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Open the window and wait until it is closed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        print("sslprofiler: give one table.", file=sys.stderr)
        return 2
    import napari

    from napari_sslprofiler.browser.widget import BrowserWidget

    viewer = napari.Viewer(title=f"SSLProfiler: {Path(arguments[0]).name}")
    widget = BrowserWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Browser", area="right")
    widget.open(Path(arguments[0]))
    napari.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
