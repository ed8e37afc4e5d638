"""WordLevel: each word is one token."""
