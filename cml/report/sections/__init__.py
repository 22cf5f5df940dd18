"""The sections of the report: one module for each, with its data for templates and the function that builds it."""
