"""BPE, byte-pair encoding: pairs of neighbouring tokens are merged in the order of their ranks."""
