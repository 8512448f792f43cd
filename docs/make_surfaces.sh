#!/bin/sh
# Makes the pictures of docs/landscapes.md by the commands printed there:
#     sh docs/make_surfaces.sh [CIFAR_FOLDER]
# Works in a new folder. Five minutes on two cores; with the folder of CIFAR-10 files three hours.
set -e
docs=$(cd "$(dirname "$0")" && pwd)
ravine=${RAVINE:-"$docs/../.venv/bin/ravine"}
cifar=${1:+$(cd "$1" && pwd)}
cd "$(mktemp -d)"
"$ravine" train @fashion --model resnet-cifar-20 --epochs 2 --keep-weights 20 --out runs/skip
"$ravine" landscape runs/skip --budget 20s
"$ravine" landscape runs/skip --along line --policy running,batch,re-estimated --images 300 --nodes 31
cp runs/skip/landscape/trajectory-default-0.png "$docs/pictures/surface-trajectory.png"
cp runs/skip/landscape/line-running-batch-re-estimated-0.png "$docs/pictures/surface-policies.png"
[ -n "$cifar" ] || exit 0
"$ravine" train "$cifar" --model resnet-cifar-56 --epochs 6 --seed 1 --out runs/resnet-56
"$ravine" train "$cifar" --model resnet-cifar-56 --no-skip --epochs 6 --seed 1 --out runs/plain-56
"$ravine" train "$cifar" --model resnet-cifar-14 --epochs 6 --seed 1 --out runs/resnet-14
"$ravine" train "$cifar" --model wrn-16-4 --epochs 6 --seed 1 --out runs/wrn-16-4
for name in resnet-56 plain-56 resnet-14 wrn-16-4; do
    "$ravine" landscape "runs/$name" --along random --policy running,batch \
        --nodes 25 --images 100 --precision float32
    cp "runs/$name/landscape/random-running-batch-0.png" "$docs/pictures/surface-$name.png"
done
