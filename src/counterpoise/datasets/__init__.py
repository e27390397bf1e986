"""Datasets: one module each.

A dataset module defines

- ``Options``: its options (a subclass of :class:`counterpoise.spec.base.Options`),
- ``tasks(options)``: its tasks,
- ``prepare(raw, out, options)``: decode the raw files into arrays,
- ``split(prepared, options, seed)``: items of each part, as a data frame with columns ``part``
  (train, validation, test) and ``item`` and whatever the dataset needs to find the item,
- ``load(prepared, items, options)``: the inputs and targets of one part's items,

and, where they apply,

- ``labels(prepared, items, options)``, if the tasks are labels of an image: 0 or 1, -1 or NaN where
  unknown, one column per task, for the dataset's card,
- ``counts(prepared, options)``, if sources may declare counts: images, patients and positives by
  task,
- ``people(prepared, items, options)``, if it is known whose the images are: one row per item, with
  columns such as age and sex,
- ``LIBRARIES``, if libraries other than numpy and pandas affect what is prepared,
- ``PREPARED``, if not all options affect what is prepared: the names of those that do,
- ``leaks(options)``, if options may ask for a split that is not by patient: whether these do, so
  that all numbers from it are marked,
- ``UNITS``, if the units of resampling are not patients (column ``patient``): the columns of the
  split that identify them,
- ``LOSSES`` (name to loss) and ``METRICS`` (name to metric), if the common ones are not enough.

Any label may be unknown (:class:`counterpoise.datasets._part.Part` says how it is then marked):
losses, gradients and scores of a task are computed on the items that have its label.

Modules import torch through :mod:`counterpoise.lazy`, so that planning need not load it.
"""
