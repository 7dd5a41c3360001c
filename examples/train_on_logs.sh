#!/usr/bin/env bash
# A model of one kind of log: go on from the bundled model with the first nine tenths of the lines, then compress the beginning of the rest,
# which the training has not seen, with both models.
#
#     examples/train_on_logs.sh FILE.log OUT [options of llmzip train; --minutes 10 if none]
#
# OUT is a folder; the model is OUT/model. A log to try it on: strace -f -tt -o strace.log python -c 'import torch'
set -euo pipefail
log=$1 out=$2
shift 2
[[ $# -gt 0 ]] || set -- --minutes 10

mkdir -p "$out"
lines=$(wc -l <"$log")
head -n $((lines * 9 / 10)) "$log" >"$out/seen.log"
tail -n +$((lines * 9 / 10 + 1)) "$log" >"$out/rest.log"
head -c 200000 "$out/rest.log" >"$out/unseen.log" # no pipe: tail would die of it, and the script with it

llmzip train "$out/seen.log" --init pocket --out "$out/model" "$@"

llmzip compress -f -m pocket -o "$out/pocket.lmz" "$out/unseen.log"
llmzip compress -f -m "$out/model" -o "$out/model.lmz" "$out/unseen.log"
llmzip decompress -f -m "$out/model" -o "$out/again.log" "$out/model.lmz"
cmp "$out/unseen.log" "$out/again.log"

before=$(wc -c <"$out/pocket.lmz") after=$(wc -c <"$out/model.lmz")
echo "unseen lines: $(wc -c <"$out/unseen.log") bytes; pocket $before, $out/model $after: $((100 - after * 100 / before)) % smaller"
