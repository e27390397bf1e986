"""Every golden test says how large its largest relative error was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from . import measured


@pytest.fixture(autouse=True)
def _measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Comparisons by torch and numpy are taken down; helpers of these tests do so themselves."""
    with pytest.MonkeyPatch.context() as patch, measured.collecting() as errors:
        for module, name in (
            (torch.testing, "assert_close"),
            (np.testing, "assert_allclose"),
            (np.testing, "assert_array_equal"),
        ):
            patch.setattr(module, name, measured.recording(getattr(module, name)))
        yield
    if errors.values:
        found = {"largest": max(errors.values), "single": errors.single}
        request.node.user_properties.append(("relative error", found))
