#!/usr/bin/env bash
# Everything that needs a GPU, in one command: tests, speed of a step, and a real run that stops itself and resumes.
#
#   bash benchmarks/gpu.sh 'photos/imagenette-train-*.tar' 'photos/imagenette-val-*.tar' OUT [SECONDS]
#
# OUT gets the logs, JSON files and the run. The run is stopped after SECONDS (default 480): call again to go on.
set -euo pipefail
train=$1 val=$2 out=$3 seconds=${4:-480}
python=${PYTHON:-python3}
mkdir -p "$out"

"$python" -m pytest -q -m gpu -p no:cacheprovider | tee "$out/tests.log" || test $? -eq 5  # 5: no such test

for size in small base large; do
    for precision in fp32 bf16; do
        "$python" -m benchmarks.step --size "$size" --batch 64 --device cuda --precision "$precision" \
            --json "$out/step_${size}_$precision.json"
    done
done

# Inference beside timm, and beside DINOv2's code where FRANCA_REFERENCE_DINOV2 names a checkout.
"$python" -m benchmarks.inference --size small base large --batch 1 64 --image-px 224 518 --output class patches \
    --device cuda --json "$out/inference.json"

# The same curve in fp32 and in the fast ways, 200 steps.
"$python" -m benchmarks.curve vits_photos "data.train=$train" performance.device=cuda train.steps=200 \
    --ways fp32,bf16,bf16+compile,bf16+compile+fsdp --json "$out/curve.json" ||
    echo "A curve left the band, see curve.json"

# Prototype losses: a sweep with the dense form beside the others, then the paper's levels.
for precision in fp32 bf16; do
    "$python" -m benchmarks.prototypes --rows 1024,4096,16384 --prototypes 8192,32768,131072 --most-dense-gib 16 \
        --backends dense,chunked,triton --compile --device cuda --precision "$precision" \
        --json "$out/prototypes_$precision.json" --plot "$out/prototypes_$precision.png"
    "$python" -m benchmarks.prototypes --paper --backends chunked,triton --compile --device cuda \
        --precision "$precision" --json "$out/prototypes_paper_$precision.json"
done

code=0
timeout --signal=TERM "$seconds" "$python" -m franca pretrain vits_photos "data.train=$train" "run.dir=$out/run" \
    model.depth=12 data.num_local_crops=8 train.global_batch=512 train.steps=10000 optim.warmup_steps=500 \
    optim.teacher_momentum=0.99 optim.teacher_temperature_warmup_steps=2000 performance.device=cuda \
    run.log_every_steps=50 run.checkpoint_every_steps=1000 || code=$?
test $code -eq 0 -o $code -eq 75 -o $code -eq 124  # finished, or stopped to go on later

"$python" -m franca eval knn,linear "$out/run" "train=$train" "val=$val" prefixes=true device=cuda out="$out/scores.json"
