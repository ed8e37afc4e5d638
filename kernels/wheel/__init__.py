"""Building wheels with the machine code of the kernels."""
