#!/usr/bin/env bash
# Data and weights for a chain: bash test_tipc/prepare.sh <txt> <mode>
# Lite modes and benchmark_train: a drawn data set in COCO's layout and random weights, without a network.
# Whole modes: the published weights; COCO itself is expected in dataset/coco.
set -euo pipefail
cd "$(dirname "$0")/.."
. test_tipc/utils_func.sh

read_params "$1"
mode="$2"
python="$(value_of 3)"
train="$(value_of 16)"
distill="$(value_of 19)"
arguments=(--config "$(option "$train" -c)" --pretrain "$(value_of 10)")
arguments+=(--slim "$(option "$distill" --slim_config)")

case "$mode" in
    lite_train_lite_infer | lite_train_whole_infer | benchmark_train)
        "$python" test_tipc/prepare.py --draw dataset/coco "${arguments[@]}"
        ;;
    whole_infer | whole_train_whole_infer)
        if [ ! -d dataset/coco/train2017 ] || [ -f dataset/coco/drawn_for_tipc ]; then
            echo "$mode needs COCO 2017 in dataset/coco (train2017, val2017, annotations)" >&2
            exit 1
        fi
        "$python" test_tipc/prepare.py "${arguments[@]}"
        ;;
    *)
        echo "unknown mode $mode" >&2
        exit 1
        ;;
esac
