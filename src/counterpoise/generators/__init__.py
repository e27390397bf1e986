"""Generators of raw files: one module each. They write stand-ins where nothing is downloaded.

A generator module defines ``Options`` (a subclass of :class:`counterpoise.spec.base.Options`) and
``generate(folder, options)``, which writes files of the same names and formats as the published
ones, always the same bytes for the same options, so that everything after it is the real path. A
source of a dataset names it: ``generator: {name: ..., options: {...}}``.

They stand apart from the datasets, so that an edit of a stand-in leaves results on real data alone.
"""
