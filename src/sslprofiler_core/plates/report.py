"""The printed form of ``inspect_plates``: aligned text, a plate a row, then channels, then gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_GAPS_SHOWN = 20


def format_inspection(report: dict[str, Any]) -> str:
    """Print a report of ``inspect_plates`` as text.

    Channels that plates share are shown once; their percentiles are then ranges over the plates.
    """
    totals = report["totals"]
    parts = [", ".join(_count(number, name) for name, number in totals.items())]
    parts.append(_plate_table(report["plates"]))
    for title, plates in _by_channels(report["plates"]).items():
        parts.append(f"{title}\n{_channel_table(plates)}")
    if report["notes"]:
        parts.append("\n".join(["Notes", *(f"  {note}" for note in report["notes"])]))
    if report["gaps"]:
        parts.append(_gap_list(report["gaps"]))
    return "\n\n".join(parts)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name.removesuffix('s') if number == 1 else name}"


def _plate_table(plates: Sequence[dict[str, Any]]) -> str:
    head = ["plate", "layout", "wells", "sites", "complete", "sites/well", "size", "type", "um/pixel", "gaps"]
    annotated = any("metadata" in plate for plate in plates)
    rows = [[*head, "cell type", "hours", "compounds"] if annotated else head]
    for plate in plates:
        size = " x ".join(map(str, plate["shape"])) if plate["shape"] else "?"
        pixel = f"{plate['pixel_size_um']:.3f}" if plate["pixel_size_um"] else "?"
        row = [plate["name"], plate["layout"], f"{plate['wells']:,}", f"{plate['sites']:,}"]
        row += [f"{plate['complete_sites']:,}", _per_well(plate["sites_per_well"]), size, plate["dtype"] or "?", pixel]
        row.append(f"{plate['gaps']:,}")
        if annotated:
            known = plate["metadata"]
            row += [", ".join(known["cell_types"]) or "?", ", ".join(known["times"]) or "?"]
            row.append(f"{len(known['compounds']):,}")
        rows.append(row)
    return _align(rows, left=(0, 1, 10))


def _per_well(distribution: dict[str, int]) -> str:
    counts = [int(count) for count in distribution]
    return str(counts[0]) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _by_channels(plates: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[tuple[tuple[str, str], ...], list[dict[str, Any]]] = {}
    for plate in plates:
        groups.setdefault(tuple((c["name"], c["group"]) for c in plate["channels"]), []).append(plate)
    if len(groups) == 1:
        return {"Channels": list(plates)}
    return {f"Channels of {_names(members)}": members for members in groups.values()}


def _names(plates: Sequence[dict[str, Any]]) -> str:
    names = [plate["name"] for plate in plates]
    return ", ".join(names if len(names) <= 4 else [*names[:3], f"and {len(names) - 3} more"])


def _channel_table(plates: Sequence[dict[str, Any]]) -> str:
    channels = plates[0]["channels"]
    keys = list(dict.fromkeys(key for plate in plates for c in plate["channels"] for key in c["percentiles"]))
    rows = [["number", "name", "group", *(f"{key} %" for key in keys)]]
    for i, channel in enumerate(channels):
        row = [f"ch{channel['number']}", channel["name"], channel["group"]]
        for key in keys:
            values = [c["percentiles"][key] for c in (plate["channels"][i] for plate in plates) if c["percentiles"]]
            row.append(_range(values))
        rows.append(row)
    return _align(rows, left=(0, 1, 2))


def _range(values: Sequence[float]) -> str:
    if not values:
        return "?"
    low, high = round(min(values)), round(max(values))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _gap_list(gaps: Sequence[dict[str, str]]) -> str:
    lines = ["Gaps"]
    for gap in gaps[:_GAPS_SHOWN]:
        lines += [f"  {gap['path']}", f"      {gap['problem']}"]
    if len(gaps) > _GAPS_SHOWN:
        lines.append(f"  ... and {len(gaps) - _GAPS_SHOWN:,} more; --json lists all")
    return "\n".join(lines)


def _align(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{w}}" if i in left else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(["  " + lines[0], "  " + "-" * max(map(len, lines)), *("  " + line for line in lines[1:])])
