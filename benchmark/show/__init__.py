"""How a result is shown: terminal, files, page, W&B."""
