"""Generators of raw files: one module each. They write stand-ins where nothing is downloaded.

A generator module defines ``Options`` (a subclass of :class:`counterpoise.spec.base.Options`) and
``generate(folder, options)``, which writes files with the same names and formats as the published
ones, always the same bytes for the same options, so that all later steps are those for real data. A
source of a dataset names it: ``generator: {name: ..., options: {...}}``.

They are separate from the datasets, so that an edit of a stand-in does not affect results on real
data.
"""
