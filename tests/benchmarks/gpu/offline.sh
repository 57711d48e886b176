#!/usr/bin/env bash
# Packs what a GPU machine without a network needs beside its own torch, numpy, scipy, pandas, pyarrow, pillow and
# torchmetrics: all else that flowsearch asks for, in versions that fit each other (Ray without the parts that studies do
# not use), pytest, and prepared image sets. Plotly and Dash are left out: the report is written here, from the results
# brought back.
#
#     tests/benchmarks/gpu/offline.sh 3.12 build/offline celeba-64 ffhq-64 anime-archive-64
#
# (Python's version there, a folder for the two archives, prepared sets as they are named in ~/.flowsearch/data.)
# There, from the root of the same checkout: `source tests/benchmarks/gpu/offline_env.sh build/offline`.
set -euo pipefail
cd "$(dirname "$0")/../../.."
version=$1 out=$2
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out" "$scratch/wheels" "$scratch/site" "$scratch/data"

pip wheel --quiet --no-deps --wheel-dir "$scratch/wheels" . # for its version: the code is the checkout's there
# What it asks for, and its tests of pytest; pip adds what those need.
mapfile -t needs < <(unzip -p "$scratch"/wheels/flowsearch-*.whl '*/METADATA' | sed -n 's/^Requires-Dist: //p' |
  sed -E "s/^((pytest|hypothesis)[^;]*);.*/\1/" | grep -vE ';|^(torch|torchmetrics|scipy|plotly|dash|waitress)\b')
pip download --quiet --dest "$scratch/wheels" --only-binary :all: --python-version "$version" --implementation cp \
  --abi "cp${version/./}" --abi abi3 --abi none --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
  "${needs[@]}"
rm "$scratch"/wheels/{numpy,pandas,pyarrow,pillow}-*.whl

for wheel in "$scratch"/wheels/*.whl; do unzip -q -o "$wheel" -d "$scratch/site"; done
rm -rf "$scratch/site/flowsearch" "$scratch"/site/ray/{jars,rllib,serve,llm,cpp,dashboard/client}
XZ_OPT='-6 -T0' tar -cJf "$out/site.tar.xz" -C "$scratch/site" .

home=${FLOWSEARCH_HOME:-$HOME/.flowsearch}
for name in "$@"; do cp -r "$home/data/$name" "$scratch/data/"; done
XZ_OPT='-6 -T0' tar -cJf "$out/data.tar.xz" -C "$scratch" data
du -sh "$out"/*
