"""Rebuild papers on multi-task balancing and say, number by number, whether they hold."""

__version__ = "0.1.0"
