"""Everything that uses git. No other package starts git."""
