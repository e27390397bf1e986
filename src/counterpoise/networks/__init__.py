"""Networks: one module each.

A network module defines ``Options``, ``features(options, tasks)`` (the size d of the shared
representation Z), ``stages(options)`` (names of the parts of the trunk, in order),
``trunk(options, shape, tasks)`` (inputs of ``shape`` to (B, d), its children being the stages) and,
where heads are not single linear layers, ``head(options, outputs, task, tasks)``; where another
library than torch decides what it is, ``LIBRARIES``. Of a network with weights that others have
published, ``published(options)`` is their name in config/weights.yaml; of one whose heads give
auxiliary outputs in training, behind a task's own, ``auxiliary_weight(options)`` is the weight of
their loss. ``tasks`` is the number K of tasks learnt together and ``task`` the place of one among
them; most networks look at neither. A trunk that others may take apart is a ``Sequential``. Modules
import torch through :mod:`counterpoise.lazy`.
"""
