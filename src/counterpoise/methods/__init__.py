"""Balancing methods: one module each. ``ls`` of this folder is the catalogue.

A method module defines one subclass of :class:`counterpoise.methods._base.Method`. Its docstring
names the paper, the equations and every difference from them; it becomes the method's card in
the report. Where another library than torch and numpy decides its results, it names that in
``LIBRARIES``. It imports torch through :mod:`counterpoise.lazy`.
"""
