"""Pantograph: from casual video to robot-ready motion.

Importing this package needs nothing but the standard library; its modules import what they
need. `conventions`, `contracts`, `errors` and `cli` need numpy and h5py only and run on
Python 3.8, since the environments of the reference methods write the same files.
"""

import os

# JAX's solvers call OpenBLAS for thousands of small matrices; its threads, spinning while they
# wait for one another, make that ten times slower and take the cores from everything else. It
# reads this once, when scipy loads it.
THREADS = ("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault(*THREADS)

__version__ = "0.1.0"
