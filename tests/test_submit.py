"""`pantograph submit`: what it hands to SLURM."""

import re
import shlex

import pytest

from pantograph.__main__ import main
from pantograph.errors import PantographError


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with an sbatch that keeps what it is given and counts jobs from 100."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        "#!/bin/bash\n"
        f"cd {tmp_path}; id=$((100 + $(ls | grep -c ^job)))\n"
        'cat > job-$id; echo "$@" > options-$id; echo "$id;cluster"\n'
    )
    sbatch.chmod(0o755)
    work = tmp_path / "a folder"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    return tmp_path


def test_an_array_and_a_job_after_it(cluster, capsys):
    words = ["--shards", "8", "--at-a-time", "3", "--gpus", "a100:1", "--partition", "gpu"]
    words += ["--account", "lab", "--sbatch=--qos=long", "--snakemake=--sdm conda"]
    assert main(["submit", *words, "--config", "videos=my clips", "top_k=2"]) == 0
    array, last = (cluster / "job-100").read_text(), (cluster / "job-101").read_text()
    for line in ("array=1-8%3", "gpus=a100:1", "partition=gpu", "account=lab", "qos=long"):
        assert f"#SBATCH --{line}\n" in array
    assert (cluster / "options-101").read_text().split()[-1] == "--dependency=afterany:100"
    assert "array 100: 8 tasks; job 101 follows it" in capsys.readouterr().out
    command = shlex.split(array.splitlines()[-1])
    assert command[command.index("--directory") + 1] == str(cluster / "a folder")
    assert command[command.index("--config") + 1 :] == [
        "videos=my clips",
        "top_k=2",
        "shard=$SLURM_ARRAY_TASK_ID/8",
        "workers=true",
    ]
    assert command[command.index("--sdm") + 1] == "conda"
    assert not re.search("shard=|--array", last) and "workers=true" in last


def test_show_submits_nothing(cluster, capsys):
    assert main(["submit", "--shards", "2", "--show"]) == 0
    assert capsys.readouterr().out.count("#!/bin/bash") == 2
    assert not list(cluster.glob("job-*"))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--shards", "0"], "expected at least 1"),
        (["--shards", "2", "--config", "shard=1/2"], "other than shard"),
        (["--shards", "2", "--config", "videos"], "expected KEY=VALUE"),
    ],
)
def test_mistakes_are_told(cluster, words, said):
    with pytest.raises(PantographError, match=said):
        main(["submit", *words])


def test_a_refusal_of_the_cluster_is_told(cluster):
    (cluster / "bin" / "sbatch").write_text("#!/bin/bash\necho 'no such\n partition' >&2; exit 1\n")
    with pytest.raises(PantographError, match="sbatch refused: no such partition"):
        main(["submit", "--shards", "2"])


def test_without_a_cluster_nothing_is_submitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PantographError, match="expected sbatch on PATH"):
        main(["submit", "--shards", "2"])
