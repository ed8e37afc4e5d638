"""Stands before Numba where a test must see that nothing needs it."""

raise ModuleNotFoundError("Numba is made impossible to import here", name="numba")
