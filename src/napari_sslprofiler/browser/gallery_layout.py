"""Where each item of a gallery lies: a grid, under a heading a group. Arithmetic only: a million items cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Group:
    """Items ``start`` to ``stop`` of the order, under one title ("" for no heading)."""

    title: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the whole gallery."""

    x: int
    y: int
    width: int
    height: int


class GalleryLayout:
    """Items in rows from left to right, groups below each other.

    Parameters
    ----------
    count
        How many items there are.
    width
        Of the view, in pixels.
    cell
        Width and height of an item.
    gap
        Pixels between items, and about them.
    groups
        In order, without gaps; empty for one group without heading.
    heading
        Height of a group's heading.
    """

    def __init__(
        self,
        count: int,
        width: int,
        cell: tuple[int, int],
        *,
        gap: int = 6,
        groups: Sequence[Group] = (),
        heading: int = 26,
    ) -> None:
        self.count, self.cell, self.gap, self.heading = count, cell, gap, heading
        self.groups = tuple(groups) or (Group("", 0, count),)
        self.columns = max(1, (width - gap) // (cell[0] + gap))
        # What is left over goes between the columns, so that the right edge is straight.
        spare = max(0, width - gap - self.columns * (cell[0] + gap))
        self.step_x = cell[0] + gap + (spare // self.columns if count >= self.columns else 0)
        self.step_y = cell[1] + gap
        self._starts = np.array([group.start for group in self.groups], np.int64)
        sizes = np.array([group.stop - group.start for group in self.groups], np.int64)
        rows = -(-sizes // self.columns)
        heads = np.array([heading if group.title else 0 for group in self.groups], np.int64)
        heights = heads + rows * self.step_y
        ends = np.cumsum(heights) + gap
        self._tops = ends - heights
        self._firsts = self._tops + heads
        self._rows = rows
        self.height = int(ends[-1]) if count else 0

    def box(self, item: int) -> Box:
        """Where an item lies."""
        group = int(np.searchsorted(self._starts, item, side="right")) - 1
        row, column = divmod(item - int(self._starts[group]), self.columns)
        x = self.gap + column * self.step_x
        return Box(x, int(self._firsts[group]) + row * self.step_y, *self.cell)

    def items_between(self, top: int, bottom: int) -> range:
        """The items that lie, wholly or in part, between two heights; in order."""
        if not self.count or bottom < 0 or top > self.height:
            return range(0)
        return range(self._item_at_or_after(top), self._item_after(bottom))

    def headings_between(self, top: int, bottom: int) -> list[tuple[Group, int]]:
        """The headings in sight, each with its height."""
        first = int(np.searchsorted(self._tops, top - self.heading, side="left"))
        last = int(np.searchsorted(self._tops, bottom, side="right"))
        return [(self.groups[i], int(self._tops[i])) for i in range(first, last) if self.groups[i].title]

    def item_at(self, x: int, y: int) -> int | None:
        """The item under a point."""
        for item in self.items_between(y, y + 1):
            box = self.box(item)
            if box.x <= x < box.x + box.width and box.y <= y < box.y + box.height:
                return item
        return None

    def items_in(self, left: int, top: int, right: int, bottom: int) -> NDArray[np.int64]:
        """The items that a rectangle touches."""
        items = np.arange(self.items_between(top, bottom).start, self.items_between(top, bottom).stop, dtype=np.int64)
        if not items.size:
            return items
        group = np.searchsorted(self._starts, items, side="right") - 1
        row, column = np.divmod(items - self._starts[group], self.columns)
        x = self.gap + column * self.step_x
        y = self._firsts[group] + row * self.step_y
        inside = (x <= right) & (x + self.cell[0] > left) & (y <= bottom) & (y + self.cell[1] > top)
        return items[inside]

    def _group_at(self, y: int) -> int:
        return max(0, int(np.searchsorted(self._tops, y, side="right")) - 1)

    def _item_at_or_after(self, y: int) -> int:
        group = self._group_at(y)
        row = max(0, (y - int(self._firsts[group])) // self.step_y)
        own = self.groups[group]
        return min(own.start + row * self.columns, own.stop)

    def _item_after(self, y: int) -> int:
        group = self._group_at(y)
        own = self.groups[group]
        row = (y - int(self._firsts[group])) // self.step_y
        return min(own.start + max(0, row + 1) * self.columns, own.stop)
