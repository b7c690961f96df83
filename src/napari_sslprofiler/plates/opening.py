"""From paths to an open screen: plates, metadata, contrast. No Qt; runs in a worker thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sslprofiler.state import Screen
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate

Report = Callable[[int, int], None]

# A picture's contrast needs fewer sites than training's scale: 16 give it within a second.
CONTRAST_SITES = 16
_METADATA = ("metadata", "Metadata")


def open_screen(
    paths: Sequence[Path], report: Report, *, metadata: Path | None = None, channels_file: Path | None = None
) -> Screen:
    """Open plates and what is known about their wells.

    Parameters
    ----------
    paths
        Plates, or folders of plates.
    report
        Called between steps with (done, total); may raise to stop.
    metadata
        Where the wells' metadata is; None looks beside the plates (`find_metadata`), and lives without.

    Raises
    ------
    UserError
        As ``open_plates`` and, when ``metadata`` is given, ``load_metadata``.
    """
    from sslprofiler_core.plates import load_metadata, open_plates

    report(0, 0)
    plates = tuple(open_plates(paths, channels=channels_file))
    report(0, 0)
    if not any(plate.sites for plate in plates):
        first = plates[0]
        raise UserError(
            f"No plate under {paths[0]} has a complete site; {first.name} lacks, for one, "
            f"{first.gaps[0].path.name if first.gaps else 'everything'}. Give another folder."
        )
    notes: list[str] = []
    frame, where = None, metadata or find_metadata(paths)
    if where is not None:
        try:
            frame = load_metadata(where, plates)
        except UserError as error:
            if metadata is not None:
                raise
            notes.append(f"Metadata found in {where} is not used: {error}")
            where = None
        else:
            notes += frame.attrs["warnings"]
    return Screen(plates, tuple(paths), {}, frame, where, channels_file, tuple(notes))


def find_metadata(paths: Sequence[Path]) -> Path | None:
    """Find a folder ``metadata`` beside the plates, beside the folder that holds them, or inside what was given."""
    for path in paths:
        path = path.absolute()
        for folder in (path, path.parent, path.parent.parent):
            for name in _METADATA:
                if (folder / name).is_dir():
                    return folder / name
    return None


def measure_contrast(plate: Plate, report: Report) -> dict[str, tuple[float, float]]:
    """Measure what a plate's channels are drawn with: percentiles 0.1 and 99.9 over some of its sites."""
    from sslprofiler_core.plates import measure_scale

    report(0, 0)
    return measure_scale([plate], sites=CONTRAST_SITES)[plate.name]


def with_contrast(screen: Screen, plate: str, contrast: dict[str, tuple[float, float]]) -> Screen:
    """The same screen, one plate's contrast known."""
    return replace(screen, scale={**screen.scale, plate: contrast})
