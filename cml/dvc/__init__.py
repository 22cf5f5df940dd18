"""Everything that uses DVC's Python API. No other package but `remotes` imports DVC."""
