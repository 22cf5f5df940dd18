"""This process and its children: log, signals, masks, tokens, file ownership, GPUs."""
