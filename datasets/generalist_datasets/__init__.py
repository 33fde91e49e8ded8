"""Data: composed scenes with exact answers."""
