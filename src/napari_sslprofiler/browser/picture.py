"""The map as a picture fit for a slide: white, with legend and caption; PNG, or SVG with every point as a shape."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QImage, QLinearGradient, QPainter, QPen

from sslprofiler_core.errors import UserError

from .colouring import highlighted
from .columns import title_of
from .density import BRIGHT, CELL, FAINT, HIDDEN, count_seen, density_picture, looks_of
from .map_view import NOTE
from .palette import hex_of, ramp
from .state import BrowserState
from .viewport import Viewport

# Shapes of their own up to here; more make an SVG that no slide program opens.
SHAPES = 20_000
WIDTH, HEIGHT = 1600, 900  # 16:9
_LEGEND = 330
_MARGIN = 36
_INK, _SOFT = QColor("#1c1f24"), QColor("#6d727c")


def save_picture(
    state: BrowserState,
    view: Viewport | None,
    path: Path,
    *,
    size: float = 6.0,
    dense: bool = False,
    scale: float = 2.0,
) -> Path:
    """Write what the map shows as a picture.

    Parameters
    ----------
    state
        With a map.
    view
        What part of it; None for all that is shown.
    path
        ``.png`` or ``.svg``. A PNG has 1600 x 900 points of ``scale`` pixels each. An SVG has up to 20,000 rows as
        shapes, more as an image inside.
    size
        Diameter of points on the screen, in pixels; in the picture they are a quarter larger.
    dense
        Draw the density instead of points.

    Raises
    ------
    UserError
        For another kind of file, one that cannot be written, or without a map.
    """
    if state.table is None or state.positions is None:
        raise UserError("There is no map to save. Open a table first.")
    kind = path.suffix.lower()
    if kind not in (".png", ".svg"):
        raise UserError(f"{path.name} is neither .png nor .svg. Choose one of these.")
    room = _room()
    if view is None:
        shown = Viewport.around(state.positions[state.filter], room.width(), room.height())
    else:
        # The same centre, and at least what the window shows, in the picture's shape.
        grown = max(view.width / room.width(), view.height / room.height())
        shown = Viewport(view.x, view.y, view.scale * grown, room.width(), room.height())
    size = float(np.clip(1.25 * size, 3.0, 18.0))
    if kind == ".png":
        image = QImage(round(WIDTH * scale), round(HEIGHT * scale), QImage.Format.Format_RGB32)
        image.fill(Qt.GlobalColor.white)
        painter = QPainter(image)
        painter.scale(scale, scale)
        _paint(painter, state, shown, size, dense)
        painter.end()
        if not image.save(str(path)):
            raise UserError(f"Cannot write {path}. Choose a folder you may write to.")
        return path
    _save_svg(state, shown, size, dense, path)
    return path


def _save_svg(state: BrowserState, view: Viewport, size: float, dense: bool, path: Path) -> None:
    from qtpy.QtSvg import QSvgGenerator

    try:
        with path.open("wb"):  # the generator itself says nothing when it cannot
            pass
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose a folder you may write to.") from error
    made = QSvgGenerator()
    made.setFileName(str(path))
    made.setSize(QSize(WIDTH, HEIGHT))
    made.setViewBox(QRect(0, 0, WIDTH, HEIGHT))
    made.setResolution(96)
    made.setTitle(f"Map of {state.table.path.name if state.table else ''}")
    painter = QPainter(made)
    painter.fillRect(QRectF(0, 0, WIDTH, HEIGHT), Qt.GlobalColor.white)
    _paint(painter, state, view, size, dense)
    painter.end()


def _room() -> QRect:
    """Where the map goes: below the title, above the caption, left of the legend."""
    return QRect(_MARGIN, _MARGIN + 54, WIDTH - 3 * _MARGIN - _LEGEND, HEIGHT - 2 * _MARGIN - 54 - 34)


def _paint(painter: QPainter, state: BrowserState, view: Viewport, size: float, dense: bool) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    room = _room()
    positions = state.positions
    assert positions is not None and state.table is not None
    looks = looks_of(state.filter, state.selection, state.matches)
    codes, palette = highlighted(state.colouring, state.matches)
    many = dense or count_seen(positions, looks, view) > SHAPES
    painter.save()
    painter.setClipRect(room)
    painter.translate(room.topLeft())
    if many:
        _paint_density(painter, density_picture(positions, codes, looks, palette, view))
    else:
        _paint_points(painter, positions, codes, looks, palette, view, size)
    painter.restore()
    _paint_title(painter, state)
    _paint_legend(painter, state, QRectF(WIDTH - _MARGIN - _LEGEND, room.top(), _LEGEND, room.height()))
    painter.setFont(_font(13))
    painter.setPen(_SOFT)
    caption = f"{state.map_note} {NOTE}".strip()
    painter.drawText(QRectF(_MARGIN, HEIGHT - _MARGIN - 18, WIDTH - 2 * _MARGIN, 22), _LEFT, caption)


_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def _paint_density(painter: QPainter, picture: NDArray[np.uint8]) -> None:
    height, width = picture.shape[:2]
    pixels = np.ascontiguousarray(picture)
    image = QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
    painter.drawImage(QRectF(0, 0, width * CELL, height * CELL), image)


def _paint_points(
    painter: QPainter,
    positions: NDArray[np.float32],
    codes: NDArray[np.uint16],
    looks: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    view: Viewport,
    size: float,
) -> None:
    pixels = view.to_pixels(positions)
    near = np.isfinite(pixels).all(axis=1) & (looks != HIDDEN)
    near[near] = (np.abs(pixels[near] - (view.width / 2, view.height / 2)) < (view.width, view.height)).all(axis=1)
    rows = np.flatnonzero(near)
    # What stands out last, and otherwise in a random order, as on the screen.
    rows = np.random.default_rng(0).permutation(rows)
    rows = rows[np.argsort(np.array([1, 0, 2])[looks[rows]], kind="stable")]
    rim = QPen(QColor(255, 255, 255, 150), max(0.5, size * 0.09))
    strong = QPen(_INK, max(0.8, size * 0.12))
    brushes = [QColor(*map(int, colour)) for colour in palette]
    for row in rows:
        look = looks[row]
        colour = QColor(brushes[codes[row]])
        colour.setAlphaF(0.14 if look == FAINT else 0.92)
        painter.setPen(strong if look == BRIGHT else Qt.PenStyle.NoPen if look == FAINT else rim)
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(*map(float, pixels[row])), size / 2, size / 2)


def _paint_title(painter: QPainter, state: BrowserState) -> None:
    assert state.table is not None
    painter.setPen(_INK)
    painter.setFont(_font(26, bold=True))
    painter.drawText(QRectF(_MARGIN, _MARGIN - 8, WIDTH - 2 * _MARGIN, 34), _LEFT, state.table.path.name)
    words = [f"{len(state):,} {state.table.unit}s"]
    if state.filtered:
        words.append(f"{int(state.filter.sum()):,} shown")
    chosen = len(state.selected_rows())
    if chosen > 1:
        words.append(f"{chosen:,} selected")
    alignment = state.table.alignment
    if alignment:
        words.append(f"aligned ({alignment.get('mode')}, alpha {alignment.get('alpha')})")
    painter.setPen(_SOFT)
    painter.setFont(_font(15))
    painter.drawText(QRectF(_MARGIN, _MARGIN + 24, WIDTH - 2 * _MARGIN, 22), _LEFT, "   ".join(words))


def _paint_legend(painter: QPainter, state: BrowserState, area: QRectF) -> None:
    colouring = state.colouring
    painter.setPen(_INK)
    painter.setFont(_font(17, bold=True))
    title = title_of(colouring.column) or ("Search" if colouring.entries else "")
    painter.drawText(QRectF(area.left(), area.top(), area.width(), 26), _LEFT, title)
    top = area.top() + 36
    if colouring.kind == "numeric":
        gradient = QLinearGradient(area.left(), 0, area.right(), 0)
        colours = ramp(24)
        for place, shade in enumerate(colours):
            gradient.setColorAt(place / (len(colours) - 1), QColor(hex_of(shade)))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRoundedRect(QRectF(area.left(), top, area.width(), 14), 4, 4)
        painter.setPen(_INK)
        painter.setFont(_font(14))
        line = QRectF(area.left(), top + 18, area.width(), 20)
        painter.drawText(line, _LEFT, f"{colouring.low:.4g}")
        painter.drawText(line, _RIGHT, f"{colouring.high:.4g}")
        top += 52
    painter.setFont(_font(15))
    metrics = QFontMetricsF(painter.font())
    for entry in (entry for entry in colouring.entries if not entry.hidden):
        if top > area.bottom() - 24:
            break
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(entry.colour))
        painter.drawEllipse(QPointF(area.left() + 8, top + 12), 6.5, 6.5)
        painter.setPen(_INK)
        name = metrics.elidedText(entry.text, Qt.TextElideMode.ElideRight, area.width() - 100)
        painter.drawText(QRectF(area.left() + 26, top, area.width() - 26, 24), _LEFT, name)
        painter.setPen(_SOFT)
        painter.drawText(QRectF(area.left(), top, area.width(), 24), _RIGHT, f"{entry.count:,}")
        top += 26


def _font(pixels: int, *, bold: bool = False) -> QFont:
    font = QFont()
    with suppress(AttributeError):  # Qt 6 alone
        font.setFamilies(["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"])
    font.setPixelSize(pixels)
    font.setBold(bold)
    return font
