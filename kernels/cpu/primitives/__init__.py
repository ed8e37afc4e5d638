"""Helpers that the kernels of several stages use: views of memory, hashes, heaps and characters. Python calls none of them."""
