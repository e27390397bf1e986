"""torch, numpy and pandas, imported when they are first used.

Planning reads the catalogue (names, options, docstrings of methods, networks and datasets) and
computes nothing, while importing torch takes seconds. Modules of the catalogue therefore write
``from counterpoise.lazy import torch``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    __all__ = ["np", "pd", "torch"]
else:

    class _Lazy:
        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            import importlib

            return getattr(importlib.import_module(self._name), attribute)

    np, pd, torch = _Lazy("numpy"), _Lazy("pandas"), _Lazy("torch")
