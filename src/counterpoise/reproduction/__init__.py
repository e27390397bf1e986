"""Printed against ours: tables, verdicts, claims, figures, and the gate at the end."""
