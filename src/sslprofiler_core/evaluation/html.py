"""Reports as one HTML file: text, tables and figures in the order in which they are added, nothing fetched."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup, escape

import sslprofiler_core
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

ImageFormat = Literal["svg", "png"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure: what it is, its value, and a line that says how to take it."""

    label: str
    value: str
    detail: str = ""
    muted: bool = False


class Report:
    """A report that is written from top to bottom.

    Text is plain text; words between backticks become code. Each method returns the report, so that calls chain.

    Parameters
    ----------
    title, subtitle
        What stands on top.

    Examples
    --------
    >>> report = Report("Four plates").heading("Accuracy").paragraph("Folds are plates.")
    >>> "Folds are plates." in report.html()
    True
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._parts: list[Markup] = []

    def heading(self, text: str) -> Report:
        """Begin a section."""
        return self._add(Markup("<h2>{}</h2>").format(_inline(text)))

    def paragraph(self, text: str) -> Report:
        """Add a paragraph."""
        return self._add(Markup("<p>{}</p>").format(_inline(text)))

    def code(self, text: str) -> Report:
        """Add commands to copy."""
        return self._add(Markup("<pre><code>{}</code></pre>").format(text.strip("\n")))

    def notice(self, text: str | Sequence[str], kind: Literal["warning", "note"] = "warning") -> Report:
        """Add what the reader must not miss, one paragraph a text."""
        lines = [text] if isinstance(text, str) else text
        body = Markup("").join(Markup("<p>{}</p>").format(_inline(line)) for line in lines)
        return self._add(Markup('<div class="notice {}">{}</div>').format(kind, body))

    def tiles(self, tiles: Sequence[Tile]) -> Report:
        """Add headline figures side by side."""
        cells = [
            Markup('<div class="tile{}"><span>{}</span><b>{}</b>{}</div>').format(
                " muted" if tile.muted else "",
                tile.label,
                tile.value,
                Markup("<small>{}</small>").format(_inline(tile.detail)) if tile.detail else "",
            )
            for tile in tiles
        ]
        return self._add(Markup('<div class="tiles">{}</div>').format(Markup("").join(cells)))

    def table(
        self,
        frame: pd.DataFrame,
        caption: str = "",
        *,
        formats: Mapping[str, str] | None = None,
        strong: Sequence[int] = (),
    ) -> Report:
        """Add a table: one row a row of ``frame``, its index left out, numbers to the right.

        Parameters
        ----------
        frame
            Its column names are the heads.
        caption
            What the table says and how to read it.
        formats
            Column -> format such as ``"{:.1%}"``; numbers are printed with three digits otherwise.
        strong
            Positions of rows to bring out.
        """
        return self._add(_table(frame, caption, formats or {}, strong))

    def figure(self, figure: Figure, caption: str, *, alt: str = "", image: ImageFormat = "svg") -> Report:
        """Add a figure; its caption says how to read it, ``alt`` what is in it for those who cannot see it.

        ``image="png"`` suits photographs and clouds of many points.
        """
        return self._add(_figure(figure, caption, alt, image))

    @contextmanager
    def row(self) -> Iterator[None]:
        """Put what is added inside the ``with`` side by side, where the page is wide enough."""
        outer, self._parts = self._parts, []
        yield
        inner, self._parts = self._parts, outer
        cells = Markup("").join(Markup("<div>{}</div>").format(part) for part in inner)
        self._add(Markup('<div class="row">{}</div>').format(cells))

    def html(self) -> str:
        """The page."""
        environment = Environment(autoescape=True)
        template = resources.files(__package__).joinpath("report_template.html").read_text(encoding="utf-8")
        footer = f"Written by SSLProfiler {sslprofiler_core.__version__} on {datetime.now():%Y-%m-%d %H:%M}."
        return environment.from_string(template).render(
            title=self.title, subtitle=self.subtitle, body=Markup("\n").join(self._parts), footer=footer
        )

    def write(self, path: Path | str) -> Path:
        """Write the page to a file, making its folder."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose another --out.") from error
        return path

    def _add(self, part: Markup) -> Report:
        self._parts.append(part)
        return self


def _inline(text: str) -> Markup:
    # A percent sign stays with its number.
    text = str(escape(text)).replace(" %", "\N{NO-BREAK SPACE}%")
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", text))


def _table(frame: pd.DataFrame, caption: str, formats: Mapping[str, str], strong: Sequence[int]) -> Markup:
    numeric = [pd.api.types.is_numeric_dtype(frame.dtypes.iloc[i]) for i in range(frame.shape[1])]
    classes = [Markup(' class="number"') if is_number else Markup("") for is_number in numeric]
    head = Markup("").join(
        Markup("<th{}>{}</th>").format(c, _inline(str(name))) for c, name in zip(classes, frame.columns, strict=True)
    )
    rows = []
    for i, values in enumerate(frame.itertuples(index=False, name=None)):
        cells = Markup("").join(
            Markup("<td{}>{}</td>").format(c, _inline(_text(value, formats.get(str(name)))))
            for c, name, value in zip(classes, frame.columns, values, strict=True)
        )
        rows.append(Markup("<tr{}>{}</tr>").format(Markup(' class="strong"') if i in strong else "", cells))
    table = Markup('<div class="scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>').format(
        head, Markup("").join(rows)
    )
    return Markup("<figure>{}{}</figure>").format(table, _caption(caption))


def _text(value: object, form: str | None) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if form is not None:
        return form.format(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _figure(figure: Figure, caption: str, alt: str, image: ImageFormat) -> Markup:
    from .style import STYLE, styled_context

    buffer = io.BytesIO()
    with styled_context():
        # No date and a fixed salt: the same figure gives the same bytes.
        metadata = {"Date": None} if image == "svg" else None
        figure.savefig(buffer, format=image, dpi=STYLE.dpi, metadata=metadata, bbox_inches="tight", pad_inches=0.04)
    kind = "svg+xml" if image == "svg" else "png"
    width = ""
    if image == "png":  # twice the pixels of the page, for sharp screens and print
        width = Markup(' style="width: {}px"').format(int.from_bytes(buffer.getvalue()[16:20], "big") // 2)
    data = base64.b64encode(buffer.getvalue()).decode()
    tag = Markup('<img src="data:image/{};base64,{}" alt="{}"{}>').format(kind, data, alt or caption, width)
    return Markup("<figure>{}{}</figure>").format(tag, _caption(caption))


def _caption(caption: str) -> Markup:
    return Markup("<figcaption>{}</figcaption>").format(_inline(caption)) if caption else Markup("")
