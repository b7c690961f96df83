"""Parts run side by side, single-threaded each, and leave torch's own threads as they were."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from sslprofiler_core.augment import draw_views, render_views
from sslprofiler_core.augment.parallel import run_parts
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe

PARTS = [slice(number, number + 1) for number in range(7)]


def test_every_part_is_worked_on_with_one_thread_and_without_gradients() -> None:
    before, seen, lock = torch.get_num_threads(), [], threading.Lock()

    def work(part: slice) -> None:
        with lock:
            seen.append((part.start, torch.get_num_threads(), torch.is_grad_enabled()))

    run_parts(work, PARTS, 3)
    assert sorted(seen) == [(number, 1, False) for number in range(7)]
    assert torch.get_num_threads() == before


def test_an_error_is_raised_when_all_have_ended() -> None:
    ended = []

    def work(part: slice) -> None:
        if part.start == 2:
            raise ValueError("part 2")
        ended.append(part.start)

    with pytest.raises(ValueError, match="part 2"):
        run_parts(work, PARTS, 2)
    assert sorted(ended) == [0, 1, 3, 4, 5, 6]


def test_the_number_of_threads_does_not_matter() -> None:
    recipe = AugmentRecipe(size=32, elastic_alpha=60.0, elastic_sigma=8.0)
    sites = [torch.randint(0, 60000, (2, 70, 80), dtype=torch.int32) for _ in range(9)]
    drawn = draw_views(fold(1, np.arange(9)), [(70, 80)] * 9, 2, recipe)
    scales, threads = torch.tensor([0.0, 60000.0]).expand(9, 2, 2), torch.get_num_threads()
    views = []
    for count in (1, 3):
        torch.set_num_threads(count)
        views.append(render_views(sites, scales, drawn, recipe))
    torch.set_num_threads(threads)
    # Fields of other batches differ by rounding, and a count where that moved a rate across a threshold.
    assert ((views[0] - views[1]).abs() > 1e-3).float().mean() < 1e-3
