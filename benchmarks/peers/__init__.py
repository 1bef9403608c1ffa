"""Other libraries beside memlane: the same corpus, the same model, each in its own environment."""
