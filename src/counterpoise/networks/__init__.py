"""Networks: one module each.

A network module defines ``Options``, ``features(options)`` (the size d of the shared
representation Z), ``trunk(options, shape)`` (inputs of ``shape`` to (B, d)) and, where heads are
not single linear layers, ``head(options, outputs)``; where another library than torch decides what
it is, ``LIBRARIES``. It imports torch through :mod:`counterpoise.lazy`.
"""
