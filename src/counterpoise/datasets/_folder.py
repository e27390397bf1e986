"""Files by which a folder of one's own is known among raw files."""

NOTE = "folder.json"
"""Where the images are: ``{"folder": PATH}``."""
TABLE = "labels.csv"
"""A copy of the table of labels."""
