"""One real well of CPJUMP1 from the public Cell Painting Gallery: nine sites, eight channels, as they were written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sslprofiler_core.errors import UserError

PLATE, WELL, COMPOUND = "BR00117012", "D08", "FK-866"
_INSTEAD = "Without a network, File > Open Sample > SSLProfiler > Simulated plates works; or open plates of your own."

Report = Callable[[int, int], None]


def download_well(folder: Path, report: Report, *, endpoint: str | None = None) -> Path:
    """Download the well as ``sslprofiler download`` does, going on with what an earlier call left.

    Parameters
    ----------
    folder
        Gets ``images/BR00117012`` and ``metadata``.
    report
        Called with (files done, files in all); may raise to stop.
    endpoint
        The address of another store with the same bucket; None is AWS.

    Returns
    -------
    The folder ``images``. Once the well is there, no network is needed.

    Raises
    ------
    UserError
        Without a network, or when the gallery answers otherwise than expected.
    """
    from sslprofiler_core.plates.download import plan_cpjump1, run_download

    whole = folder / "whole"  # written last
    if whole.is_file():
        return folder / "images"
    report(0, 0)
    try:
        plan = plan_cpjump1(folder, plates=[PLATE], wells=[WELL], metadata=False, endpoint=endpoint)
        images = run_download(plan, endpoint=endpoint, report=report)
    except UserError as error:
        raise UserError(f"{error} {_INSTEAD}") from error
    metadata = folder / "metadata"
    metadata.mkdir(exist_ok=True)
    text = f"Metadata_Plate,Metadata_Well,Metadata_Compound,Metadata_CellType\n{PLATE},{WELL},{COMPOUND},U2OS\n"
    (metadata / "wells.csv").write_text(text, encoding="utf-8")
    whole.touch()
    return images
