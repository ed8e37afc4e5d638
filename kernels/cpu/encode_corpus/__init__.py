"""Text to ids: each distinct word is encoded once by the model, and after that by a cache."""
