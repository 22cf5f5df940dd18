"""DVC remotes: kinds of storage, credentials, errors, probes."""
