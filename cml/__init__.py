"""Continuous machine learning for DVC projects, in the CI you already have."""

__version__ = "0.1.0"
