"""Networks: one module each.

A network module defines ``Options``, ``features(options, tasks)`` (the size d of the shared
representation Z), ``stages(options)`` (names of the parts of the trunk, in order), ``trunk(options,
shape, tasks)`` (inputs of ``shape`` to (B, d), its children being the stages) and, where heads are
not single linear layers, ``head(options, outputs, task, tasks)``; where a library other than torch
determines the network, ``LIBRARIES``. If others have published weights for a network,
``published(options)`` is their name in config/weights.yaml; if its heads give auxiliary outputs in
training, after a task's own, ``auxiliary_weight(options)`` is the weight of their loss. ``tasks``
is the number K of tasks learnt together and ``task`` the index of one among them; most networks use
neither. A trunk that others may take apart is a ``Sequential``. Modules import torch through
:mod:`counterpoise.lazy`.
"""
