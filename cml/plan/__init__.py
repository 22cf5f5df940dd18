"""Which jobs of a CI do which stages of a pipeline: data, grouping, and the languages of the engines. Pure."""
