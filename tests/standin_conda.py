"""A stand-in for conda, since no channel can be reached from a test.

It answers what Snakemake asks, refuses everything else, and writes down every call. What it makes
from an environment file is a virtual environment of the Python that runs the tests, with the
packages of that Python and no way to this repository's library but the one that jobs have; every
start of that Python is written down too.
"""

from __future__ import annotations

import json
import os
import sys

CONDA = """#!{python}
import json, os, subprocess, sys, sysconfig
import yaml

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
words = sys.argv[1:]
with open(os.path.join(root, "calls"), "a") as file:
    print(json.dumps(words), file=file)


def value(option):
    return words[words.index(option) + 1]


def make(prefix, packages):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    site = sysconfig.get_path("purelib", vars=dict.fromkeys(("base", "platbase"), prefix))
    for package in packages:
        open(os.path.join(site, package + ".py"), "w").close()
    with open(os.path.join(site, "packages.pth"), "w") as file:
        file.writelines(path + "\\n" for path in sys.path if path.endswith("site-packages"))
    with open(os.path.join(site, "sitecustomize.py"), "w") as file:
        file.write(NOTE.format(repr(os.path.join(prefix, "starts"))))


NOTE = '''import json, os, sys
with open({{}}, "a") as file:
    words = sys.orig_argv, os.environ.get("PYTHONPATH"), os.environ.get("CONDA_PREFIX")
    print(json.dumps(words), file=file)
'''

if words == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": root, "platform": "linux-64"}}))
elif words == ["--version"]:
    print("conda 24.7.1")
elif words == ["config", "--get", "channel_priority", "--json"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[:2] == ["env", "create"]:
    with open(value("--file")) as file:
        found = yaml.safe_load(file)
    assert found["channels"][-1] == "nodefaults", found["channels"]
    # what the scripts after the installation look for is there already
    make(value("--prefix"), {packages})
elif words[0] == "create" and value("--file").endswith(".pin.txt"):
    sys.exit("error: these packages are no longer in the channels")
elif words[0] != "clean":
    sys.exit("unexpected: conda " + " ".join(words))
"""

ACTIVATE = """export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
"""

BUILT = ("torch", "xformers", "torch_scatter", "lietorch", "droid_backends", "nksr")
"""What envs/*.post-deploy.sh compile; empty modules of these names."""


class Conda:
    """The stand-in in a folder, and what it was asked."""

    def __init__(self, folder):
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir(parents=True)
        conda = programs / "conda"
        conda.write_text(CONDA.format(python=sys.executable, packages=BUILT))
        conda.chmod(0o755)
        (programs / "activate").write_text(ACTIVATE)
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path}
        self.environment.pop("PYTHONPATH", None)

    def calls(self):
        """The words of each call."""
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
