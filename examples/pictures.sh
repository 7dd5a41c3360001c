#!/usr/bin/env bash
# Draws the pictures of the README: a text in the colours of its surprise, and the frontier of ratio against speed on the files that are named.
#
#     bash examples/pictures.sh FILE...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
llmzip=${LLMZIP:-.venv/bin/llmzip}
"$llmzip" explain examples/sandwich.txt -m smollm2-135m -f -o docs/pictures/explain.svg
"$llmzip" bench "$@" --cpu --llmzip= --llmzip=-1 -f --plot docs/pictures/frontier.svg
