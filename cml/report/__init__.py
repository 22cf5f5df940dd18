"""The report: as data, as text, and what decides about it."""
