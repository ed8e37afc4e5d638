"""Helpers of several stages' kernels: views of memory, hashes, heaps and characters. Python calls none of them."""
