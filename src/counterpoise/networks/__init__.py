"""Networks: one module each.

A network module defines ``Options``, ``features(options, tasks)`` (the size d of the shared
representation Z), ``trunk(options, shape, tasks)`` (inputs of ``shape`` to (B, d)) and, where heads
are not single linear layers, ``head(options, outputs, task, tasks)``; where another library than
torch decides what it is, ``LIBRARIES``. ``tasks`` is the number K of tasks learnt together and
``task`` the place of one among them; most networks look at neither. A trunk that others may take
apart is a ``Sequential`` of named stages. Modules import torch through :mod:`counterpoise.lazy`.
"""
