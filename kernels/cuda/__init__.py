"""The stages as CUDA kernels, launched through CuPy."""
