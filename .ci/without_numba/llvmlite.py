"""Stands before Numba where a test must see that nothing needs it."""

raise ModuleNotFoundError("llvmlite is made impossible to import here", name="llvmlite")
