"""The command line: `gputok train`, `count`, `encode`, `decode` and others.

Results go to standard output or to the file of `--output`, which is written atomically; `-` stands for standard input
or standard output. What a command did is summed up in one line on standard output, or on standard error if standard
output has the result. Progress, warnings and errors go to standard error, an error as one line. Exit status: 0 success,
1 failure, 2 usage error, 130 interrupted (Ctrl-C).
"""

import gc
import os

# Else the import of NumPy makes OpenBLAS start threads, which wait for 0.1 s of CPU. No command multiplies matrices
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Modules are no garbage: the collector's search, at their import and at the end, takes a tenth of `gputok --help`
_collects = gc.isenabled()
gc.disable()
try:
    from gputok.cli.entry import app, main
finally:
    if _collects:
        gc.enable()

__all__ = ["app", "main"]
