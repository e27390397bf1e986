"""The report: one HTML page for people, JSON and CSV for machines."""
