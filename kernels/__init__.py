"""The kernels of gputok: every loop over bytes, words or pairs.

A *stage* has one name, one signature and the same arrays in and out in its three versions:

    kernels/reference.py   plain Python: the specification, and the tests' slow oracle
    kernels/cpu/           Numba
    kernels/cuda/          CUDA C++ through CuPy

Kernels know arrays and numbers, and no class of the Python layer. They trust their inputs.
"""
