"""Training of Unigram: suffixes.py sorts suffixes to find the first pieces (tokens); tries.py does the E-step of EM."""
