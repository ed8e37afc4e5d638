"""WordPiece: each word is cut into the longest tokens, from its start."""
