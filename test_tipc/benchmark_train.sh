#!/usr/bin/env bash
# Training speed: bash test_tipc/benchmark_train.sh <txt> benchmark_train [dynamic_bs8_fp32_DP_N1C1]
# N1C4 trains on four GPUs. Without a third argument every batch size and number format of the txt is measured on one.
# One json line per measurement in test_tipc/output/<model>/benchmark_train/speed.json.
cd "$(dirname "$0")/.." || exit 1
. test_tipc/utils_func.sh

read_params "$1"
mode="$2"
model_name="$(value_of 2)"
python="$(value_of 3)"
log_path="./test_tipc/output/${model_name}/${mode}"
status_log="${log_path}/results_python.log"
failed=0
mkdir -p "$log_path"
: > "$status_log"
gpus="$(gpu_count)"

# measure <batch size> <fp32|fp16> <number of GPUs>
measure() {
    local name devices="" amp="" log
    name="dynamic_bs$1_$2_DP_N1C$3"
    log="${log_path}/${name}.log"
    if [ "$3" -gt 1 ]; then
        if [ "${gpus:-0}" -lt "$3" ]; then
            skip "$name: this machine has ${gpus:-0} GPUs"
            return
        fi
        devices=" -m paddle.distributed.launch --gpus=$(seq -s, 0 $(($3 - 1)))"
    fi
    if [ "$2" = fp16 ]; then
        amp=" --amp"
    fi
    run "$python$devices $(value_of 16) log_iter=1 epoch=$(value_of 55) TrainReader.batch_size=$1$(set_param \
        "$(key_of 10)" "$(value_of 10)") save_dir=${log_path}/${name} filename=${model_name}$amp --overwrite" "$log" &&
        "$python" test_tipc/speed.py "$log" --name "${model_name}_${name}" | tee -a "${log_path}/speed.json"
}

if [ -n "${3:-}" ]; then
    if [[ ! "$3" =~ ^dynamic_bs([0-9]+)_(fp32|fp16)_DP_N1C([0-9]+)$ ]]; then
        echo "expected e.g. dynamic_bs8_fp32_DP_N1C1, not $3" >&2
        exit 1
    fi
    measure "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}"
else
    for batch_size in $(value_of 53 | tr '|' ' '); do
        for format in $(value_of 54 | tr '|' ' '); do
            measure "$batch_size" "$format" 1
        done
    done
fi
exit "$failed"
