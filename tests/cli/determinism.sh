# determinism.sh - the same bytes for any number of threads, and from every instruction set.
#
# Within one RAM_CPU the manifest is the same to the bit for 1, 2 and 7 threads. Between instruction
# sets the svd metric may differ in its last digits (docs/metrics.md); what is compared there is the
# conversion under one plan, and the widths that a budget gives from probes of a small model.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

check_model() {
    model=$1
    for level in amx avx512 avx2 ref; do
        for threads in 1 2 7; do
            RAM_CPU=$level expect 0 analyze "$model" -o m-$level-$threads.json --threads $threads
            RAM_CPU=$level expect 0 allocate m-$level-$threads.json -o p-$level-$threads.json
            same m-$level-$threads.json m-$level-1.json "manifests, RAM_CPU=$level"
            same p-$level-$threads.json p-$level-1.json "plans, RAM_CPU=$level"
            # Each in a place of its own: the model card names the directory.
            mkdir $level-$threads
            RAM_CPU=$level expect 0 convert "$model" --plan p-amx-1.json -o $level-$threads/dir \
                --threads $threads --shard-size 3MB
            same_trees $level-$threads/dir amx-1/dir "conversions under one plan"
        done
    done
    expect 0 analyze "$model" -o small.json --max-memory 64MiB
    expect 0 analyze "$model" -o large.json --max-memory 4GiB
    same small.json large.json "manifests under two limits of memory"
}

# widths_of DIR: what was decided, a line for each matrix.
widths_of() {
    tr -d ' \n' <"$1/config.json" | sed 's/.*"quantization"://; s/"quantization_config".*//' | tr '}' '\n'
}

# check_budget MODEL EFFORT: every instruction set decides on the same widths.
check_budget() {
    for level in amx avx512 avx2; do
        RAM_CPU=$level expect 0 quantize "$1" -o budget-$level --effort "$2" --force
        widths_of budget-$level >budget-$level.txt
        same budget-$level.txt budget-amx.txt "widths of a budget, effort $2, RAM_CPU=$level"
    done
}

check_model "$tiny"
check_budget "$tiny" normal
rm -rf ./*
find_model ref-glm4-moe-lite
check_model "$model"
check_budget "$model" fast
find_model ref-qwen3-moe
check_budget "$model" fast
finish
