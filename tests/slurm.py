"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd of Debian.

Everything is private to a temporary folder: key, sockets, ports, state. The executor's job steps
drop SLURM_CONF from their environment, so that a wrapper of `srun` on PATH has to say it again.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,sched_min_interval=0
# what the machine really has does not matter
SlurmdParameters=config_overrides
MinJobAge=600
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def lacking():
    """Why no cluster can be started here, or ""."""
    missing = [name for name in (*DAEMONS, *CLIENTS) if not shutil.which(name, path=PATH)]
    if missing:
        return f"needs {', '.join(missing)} (Debian: slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "needs root to start the daemons of SLURM"


class Cluster:
    """One node with `cpus` CPUs, `memory` MB and as many GPUs, which are empty files."""

    def __init__(self, cpus=2, memory=12000, gpus=2):
        # sockets need short paths
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.host = socket.gethostname().partition(".")[0]
        self.running = []
        try:
            self._configure(cpus, memory, gpus)
            self._start()
        except BaseException:
            self.stop()
            raise

    def _configure(self, cpus, memory, gpus):
        folder = self.folder
        folder.chmod(0o755)
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        (folder / "key").mkdir(mode=0o700)
        (folder / "key" / "munge.key").write_bytes(os.urandom(1024))
        (folder / "key" / "munge.key").chmod(0o600)
        control, node = free_ports(2)
        text = CONFIGURATION.format(
            **{"host": self.host, "folder": folder, "control": control, "node": node},
            **{"cpus": cpus, "memory": memory, "gpus": gpus},
        )
        (folder / "slurm.conf").write_text(text)
        for number in range(gpus):
            (folder / f"gpu{number}").touch()
        files = f"{folder}/gpu[0-{gpus - 1}]" if gpus > 1 else f"{folder}/gpu0"
        (folder / "gres.conf").write_text(f"NodeName={self.host} Name=gpu File={files}\n")
        wrapper = folder / "bin" / "srun"
        real = shutil.which("srun", path=PATH)
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {real} "$@"\n')
        wrapper.chmod(0o755)
        self.environment = {
            **os.environ,
            "SLURM_CONF": f"{folder}/slurm.conf",
            "PATH": os.pathsep.join([str(folder / "bin"), PATH]),
        }

    def _start(self):
        folder = self.folder
        self._daemon(
            *("munged", "--foreground", "--force", f"--key-file={folder}/key/munge.key"),
            *(f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid"),
            *(f"--log-file={folder}/munged.log", f"--seed-file={folder}/key/seed"),
        )
        self._until(lambda: (folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", self.host)
        self._until(lambda: self.state() == "idle")

    def _daemon(self, *words):
        with open(self.folder / f"{words[0]}.out", "w") as output:
            self.running.append(
                subprocess.Popen(
                    words,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )

    def _until(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.running):
                logs = [f"{p.name}:\n{p.read_text()[-2000:]}" for p in self.folder.glob("*.out")]
                raise RuntimeError("SLURM did not start\n" + "\n".join(logs))
            time.sleep(0.05)

    def ask(self, *words):
        """What a client of SLURM prints, without the last line's end."""
        run = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return run.stdout.rstrip("\n")

    def state(self):
        """The state of the node: idle, mix, alloc, drain ..."""
        return self.ask("sinfo", "-h", "-o", "%t")

    def queue(self, *states):
        """(id, state, GPUs, comment) of jobs in these states; of all that are known without any."""
        wanted = ",".join(states) or "all"
        fields = "JobID:.|,State:.|,tres-per-job:.|,Comment:300"
        lines = self.ask("squeue", "-h", "-r", f"--states={wanted}", "-O", fields)
        return [tuple(map(str.strip, line.split("|"))) for line in lines.splitlines()]

    def stop(self):
        """End all jobs and daemons."""
        if len(self.running) == 3:
            self.ask("scancel", "--user=root")
            deadline = time.monotonic() + 15
            while self.queue("RUNNING", "COMPLETING", "PENDING") and time.monotonic() < deadline:
                time.sleep(0.1)
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(count):
    """Ports that nobody listens on."""
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in with_ports]
    for server in with_ports:
        server.close()
    return ports
