"""Scores from saved predictions, and the statistics over seeds. No torch here."""
