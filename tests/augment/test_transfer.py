"""What is done to raw sites on a device, with no more than every device can do."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from sslprofiler_core.augment import take_channels


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.float32])
def test_channels_are_chosen_by_copies_alone(dtype: torch.dtype) -> None:
    site = torch.arange(60).reshape(3, 4, 5).to(dtype)
    with profile(activities=[ProfilerActivity.CPU]) as ran:
        taken = take_channels(site, [2, 0])
    assert taken.dtype == dtype and taken.tolist() == [site[2].tolist(), site[0].tolist()]
    names = {event.key for event in ran.key_averages()}
    assert "aten::copy_" in names and not names & {"aten::index", "aten::index_select", "aten::gather"}  # no uint16
    assert take_channels(site, range(3)) is site
