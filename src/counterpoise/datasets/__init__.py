"""Datasets: one module each.

A dataset module defines

- ``Options``: what can be chosen about it (a subclass of :class:`counterpoise.spec.base.Options`),
- ``tasks(options)``: its tasks,
- ``prepare(raw, out, options)``: decode the raw files into arrays,
- ``split(prepared, options, seed)``: items of each part, as a data frame with columns ``part``
  (train, validation, test) and ``item`` and whatever the dataset needs to find the item,
- ``load(prepared, items, options)``: the inputs and targets of one part's items,

where the tasks are labels of an image, ``labels(prepared, items, options)``: 0 or 1, -1 or NaN
where unknown, one column a task, for the dataset's card; where sources may
declare counts, ``counts(prepared, options)``: images, patients and positives by task; where it is
known whose they are, ``people(prepared, items, options)``: a row an item, columns such as age and
sex; where others than numpy and pandas decide
what is prepared, ``LIBRARIES``; where not all options do, the names of those that decide it,
``PREPARED``; where options may ask for a split that is not by patient,
``leaks(options)``, whether these do, so that all numbers from it are marked; where not patients
(column ``patient``) but something else is what another sample of items would change, the columns of
the split that name it, ``UNITS``; and where the common ones do not do, ``LOSSES`` (name to loss)
and ``METRICS`` (name to metric).

Any label may be unknown (:class:`counterpoise.datasets._part.Part` says how it is then marked):
losses, gradients and scores of a task are those of the items that have its label.

It imports torch through :mod:`counterpoise.lazy`, so that planning need not load it.
"""
