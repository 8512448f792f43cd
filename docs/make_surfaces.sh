#!/bin/sh
# Makes the pictures of docs/landscapes.md by the commands printed there: sh docs/make_surfaces.sh
# Works in a new folder; about five minutes on two cores.
set -e
docs=$(cd "$(dirname "$0")" && pwd)
ravine=${RAVINE:-"$docs/../.venv/bin/ravine"}
cd "$(mktemp -d)"
"$ravine" train @fashion --model resnet-cifar-20 --epochs 2 --keep-weights 20 --out runs/skip
"$ravine" train @fashion --model resnet-cifar-20 --no-skip --epochs 2 --out runs/plain
"$ravine" landscape runs/skip --budget 20s
"$ravine" landscape runs/skip --along line --policy running,batch,re-estimated --images 300 --nodes 31
"$ravine" landscape runs/skip --along random --budget 20s --policy batch
"$ravine" landscape runs/plain --along random --budget 20s --policy batch
cp runs/skip/landscape/trajectory-default-0.png "$docs/pictures/surface-trajectory.png"
cp runs/skip/landscape/line-running-batch-re-estimated-0.png "$docs/pictures/surface-policies.png"
cp runs/skip/landscape/random-batch-0.png "$docs/pictures/surface-skip.png"
cp runs/plain/landscape/random-batch-0.png "$docs/pictures/surface-plain.png"
