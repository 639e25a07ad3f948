"""Pantograph: from casual video to robot-ready motion.

Importing this package needs nothing but the standard library; its modules import what they
need. `conventions`, `contracts`, `errors` and `cli` need numpy and h5py only and run on
Python 3.8, since the environments of the reference methods write the same files.
"""

__version__ = "0.1.0"
