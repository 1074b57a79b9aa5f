#!/usr/bin/env bash
# Shared by the chains: reading a txt file by position, running a command and recording how it ended.

# The whole txt of a model, one line per element; lines are counted from 1 in the docs.
read_params() {
    if [ ! -f "$1" ]; then
        echo "no such file: $1" >&2
        exit 1
    fi
    mapfile -t params < "$1"
}

line() { echo "${params[$(($1 - 1))]}"; }

key_of() {
    local text
    text="$(line "$1")"
    echo "${text%%:*}"
}

value_of() {
    local text
    text="$(line "$1")"
    echo "${text#*:}"
}

# mode_value "a=1|b=2" a -> 1; a text without modes is meant for all of them.
mode_value() {
    local part
    case "$1" in
        *=*)
            for part in ${1//|/ }; do
                if [ "${part%%=*}" = "$2" ]; then
                    echo "${part#*=}"
                    return
                fi
            done
            echo null
            ;;
        *) echo "$1" ;;
    esac
}

# set_param key value -> "key=value", or nothing when either is null.
set_param() {
    if [ -n "$1" ] && [ "$1" != null ] && [ -n "$2" ] && [ "$2" != null ]; then
        echo " $1=$2"
    fi
}

# option "tools/train.py -c a.yml ..." -c -> a.yml
option() {
    local words word previous=""
    read -ra words <<< "$1"
    for word in "${words[@]}"; do
        if [ "$previous" = "$2" ]; then
            echo "$word"
            return
        fi
        previous="$word"
    done
}

gpu_count() { "$python" -c "import paddle; print(paddle.device.cuda.device_count())" 2> /dev/null | tail -n 1; }

# run "command" log: runs it, shows and keeps its output, records success or failure in $status_log.
run() {
    echo "$1"
    eval "$1" 2>&1 | tee "$2"
    status_check "${PIPESTATUS[0]}" "$1" "$2"
}

status_check() {
    local outcome="Run successfully with command"
    if [ "$1" -ne 0 ]; then
        outcome="Run failed with command"
        failed=1
    fi
    echo " $outcome - ${model_name} - $2 - $3 " | tee -a "$status_log"
    return "$1"
}

skip() { echo " Skipped - ${model_name} - $1 " | tee -a "$status_log"; }
