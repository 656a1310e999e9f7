"""Sizes, numbers and pauses at the limits; ``make test-limits`` runs them all.

Each test that takes long has the marker ``limits``, which other targets leave out.
"""
