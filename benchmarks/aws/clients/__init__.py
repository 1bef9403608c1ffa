"""The contenders: each module has `open_client`, each runs in an environment of its own."""
