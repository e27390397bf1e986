"""Files that identify a user's own folder among raw files."""

NOTE = "folder.json"
"""Where the images are: ``{"folder": PATH}``."""
TABLE = "labels.csv"
"""A copy of the table of labels."""
