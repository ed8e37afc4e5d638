"""Training of Unigram: suffixes of words, from which the first pieces come, and tries of words by their prefixes."""
