#!/usr/bin/env bash
# Train, evaluate, export, infer: bash test_tipc/test_train_inference_python.sh <txt> <mode>
# Every command is recorded in test_tipc/output/<model>/<mode>/results_python.log; the exit code is 1 if one failed.
cd "$(dirname "$0")/.." || exit 1
. test_tipc/utils_func.sh

read_params "$1"
mode="$2"
model_name="$(value_of 2)"
python="$(value_of 3)"
gpu_list="$(value_of 4)"
log_path="./test_tipc/output/${model_name}/${mode}"
status_log="${log_path}/results_python.log"
failed=0
mkdir -p "$log_path"
: > "$status_log"
gpus="$(gpu_count)"

# train_command <gpu entry> <trainer's command> <save_dir> <auto_cast>
train_command() {
    local devices="" use_gpu=True amp=""
    if [ "${gpus:-0}" -eq 0 ]; then
        use_gpu=False
    else
        case "$1" in
            *,*) devices="-m paddle.distributed.launch --gpus=$1" ;;
            *) export CUDA_VISIBLE_DEVICES="$1" ;;
        esac
    fi
    if [ "$4" = amp ]; then
        amp=" --amp"
    fi
    echo "$python $devices $2 LearningRate.base_lr=0.0001 log_iter=1$(set_param "$(key_of 5)" "$use_gpu")" \
        "$(set_param "$(key_of 8)" "$3")$(set_param "$(key_of 7)" "$(mode_value "$(value_of 7)" "$mode")")" \
        "$(set_param "$(key_of 10)" "$(value_of 10)")$(set_param "$(key_of 9)" "$(mode_value "$(value_of 9)" "$mode")")" \
        "$(set_param filename "$model_name")$amp --overwrite"
}

# infer_all <model_dir> <name of the logs>
infer_all() {
    local device mkldnn threads batch mode_of_run log
    for device in $(split "$(value_of 41)"); do
        if [ "$device" = gpu ] && [ "${gpus:-0}" -eq 0 ]; then
            skip "$(key_of 41)=gpu: this machine has no GPU"
            continue
        fi
        for batch in $(split "$(value_of 44)"); do
            if [ "$device" = cpu ]; then
                for mkldnn in $(split "$(value_of 42)"); do
                    for threads in $(split "$(value_of 43)"); do
                        log="${log_path}/$2_infer_cpu_usemkldnn_${mkldnn}_threads_${threads}_batchsize_${batch}.log"
                        infer "$1" cpu "$batch" "$log" "$(set_param "$(key_of 42)" "$mkldnn")$(set_param "$(key_of 43)" "$threads")"
                    done
                done
            else
                for mode_of_run in $(split "$(value_of 46)"); do
                    log="${log_path}/$2_infer_gpu_mode_${mode_of_run}_batchsize_${batch}.log"
                    infer "$1" gpu "$batch" "$log" "$(set_param "$(key_of 46)" "$mode_of_run")"
                done
            fi
        done
    done
}

infer() {
    run "$python $(value_of 40)$(set_param "$(key_of 47)" "$1")$(set_param "$(key_of 48)" "$(value_of 48)")$(set_param \
        "$(key_of 41)" "$2")$(set_param "$(key_of 44)" "$3")$(set_param "$(key_of 50)" "$(value_of 50)")$(set_param \
        "$(key_of 51)" "$(value_of 51)") --output_dir=${log_path}/pictures$5" "$4"
}

split() { echo "${1//|/ }"; }

# export_command <line of the export> <weights> <output_dir>
export_command() {
    echo "$python $(value_of "$1")$(set_param "$(key_of 29)" "$2")$(set_param filename "$model_name")$(set_param \
        "$(key_of 28)" "$3")"
}

export_and_infer() {
    local output="${log_path}/inference_$3"
    run "$(export_command "$1" "$2" "$output")" "${log_path}/$3_export.log" &&
        infer_all "${output}/${model_name}" "$3"
}

# train_one <gpu entry> <auto_cast> <trainer>
train_one() {
    local line_of_train line_of_export name save_dir weights
    case "$3" in
        norm_train) line_of_train=16 line_of_export=30 ;;
        distill_train) line_of_train=19 line_of_export=33 ;;
        *)
            skip "trainer $3 is not one of ppkd's"
            return
            ;;
    esac
    case "$1" in
        *,*)
            if [ "${gpus:-0}" -lt 2 ]; then
                skip "$3 on GPUs $1: this machine has ${gpus:-0}"
                return
            fi
            ;;
    esac
    name="$3_gpus_$1_autocast_$2"
    save_dir="${log_path}/${name}"
    weights="${save_dir}/${model_name}/$(value_of 11)"
    run "$(train_command "$1" "$(value_of "$line_of_train")" "$save_dir" "$2")" "${log_path}/${name}.log" || return
    run "$python $(value_of 24)$(set_param weights "$weights")$(set_param "$(key_of 5)" "$([ "${gpus:-0}" -gt 0 ] &&
        echo True || echo False)")" "${log_path}/${name}_eval.log"
    export_and_infer "$line_of_export" "$weights" "$name"
}

if [ "$mode" = whole_infer ]; then
    export_and_infer 30 "$(value_of 29)" whole_infer
else
    for gpu in $(split "$gpu_list"); do
        for auto_cast in $(split "$(value_of 6)"); do
            for trainer in $(split "$(value_of 15)"); do
                train_one "$gpu" "$auto_cast" "$trainer"
            done
        done
    done
fi
exit "$failed"
