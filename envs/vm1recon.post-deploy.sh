#!/usr/bin/env bash
# What conda cannot say for vm1recon: packages that are compiled against its torch and CUDA.
# What is there already is left alone.
set -euo pipefail

say() { echo "vm1recon: $*" >&2; }
has() { python -c "import torch, $1" 2>/dev/null; }

if [[ -z ${CONDA_PREFIX:-} ]]; then
    say "run this inside the environment"
    exit 1
fi
export CUDA_HOME=$CONDA_PREFIX FORCE_CUDA=1 MAX_JOBS=${MAX_JOBS:-4}
# Volta to Hopper
export TORCH_CUDA_ARCH_LIST="7.0;7.5;8.0;8.6;8.9;9.0"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# UniDepth needs this build: later ones have no NystromAttention or ask for another torch
if ! has xformers; then
    say "installing xformers"
    conda install --yes --quiet --no-deps --prefix "$CONDA_PREFIX" \
        https://anaconda.org/xformers/xformers/0.0.22.post7/download/linux-64/xformers-0.0.22.post7-py310_cu11.8.0_pyt2.0.1.tar.bz2
fi

if ! has torch_scatter; then
    say "compiling torch-scatter: some minutes"
    python -m pip install --quiet --no-deps --no-build-isolation torch-scatter==2.1.2
fi

if ! has lietorch || ! has droid_backends; then
    say "compiling the SLAM of MegaSam: some minutes"
    git clone --quiet --no-checkout https://github.com/mega-sam/base "$scratch/base"
    git -C "$scratch/base" checkout --quiet --detach ee9ac6af512c09ed48264c6933eeeb66d31a0dc9
    git -C "$scratch/base" submodule --quiet update --init --recursive
    # its setup.py names the GPUs up to Ampere: Hopper, too
    (cd "$scratch/base" && NVCC_APPEND_FLAGS="-gencode=arch=compute_90,code=sm_90" \
        python setup.py --quiet install)
fi

# The only wheels of NKSR have a host of their own, which may be gone. Without them mesh_nksr takes
# the embedded reconstruction, so this is no failure.
if ! has nksr; then
    say "installing NKSR"
    python -m pip freeze >"$scratch/installed.txt"
    python -m pip install --quiet --constraint "$scratch/installed.txt" \
        --find-links https://nksr.huangjh.tech/whl/torch-2.0.0+cu118.html \
        --find-links https://pycg.huangjh.tech/packages/index.html \
        "nksr==1.0.3+pt20cu118" "python-pycg[full]==0.5.2" omegaconf==2.3.0 \
        pytorch-lightning==1.9.4 flatten-dict==0.4.2 plyfile==1.1 pykdtree==1.4.1 \
        pyntcloud==0.3.1 randomname==0.2.1 \
        || say "NKSR could not be installed; mesh_nksr will take the embedded reconstruction"
fi
