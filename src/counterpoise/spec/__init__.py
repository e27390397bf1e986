"""Typed configuration: what papers say, what datasets are, what a tier reduces."""
