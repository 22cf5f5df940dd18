"""Plots: Vega-Lite specifications, rendering, image files."""
