#!/usr/bin/env bash
# How the bundled model is trained: the shared corpus, one source per kind, weighted.
#
#     examples/train_pocket.sh CORPUS_FOLDER OUT [options of llmzip train, --minutes 150 for one]
#
# Killed or interrupted, the same command goes on. Run it alone: two heavy jobs on two cores slow each other many times over.
set -euo pipefail
corpus=$1 out=$2
shift 2

sources=()
while read -r kind weight; do
    sources+=("$corpus/$kind.txt.xz=$weight")
done <<'MIXTURE'
books_en-0 13
books_en-1 13
encyclopaedic-0 11
encyclopaedic-1 11
techdocs_en-0 7
techdocs_en-2 1
textbooks_en-0 5
news_blogs-0 4
dialogue-0 3
sentences_en-0 0.5
multilingual-0 5
multilingual-3 2
code_python-0 3
code_c-0 3
code_cpp-0 1.5
code_javascript-0 1.5
code_typescript-0 0.7
code_java-0 1
code_go-0 1
code_rust-0 1
code_ruby-0 0.6
code_php-0 0.7
code_csharp-0 0.5
code_kotlin-0 0.4
code_elixir-0 0.3
code_shell-0 0.4
code_sql-0 0.4
code_build-0 0.3
code_css-0 0.2
code_diff-0 0.6
data_csv-0 1.5
data_html-0 2
data_json-0 2.5
data_toml_ini-0 0.2
data_xml-0 1.2
data_yaml-0 0.5
latex-0 1.5
logs-0 3
MIXTURE

exec llmzip train "${sources[@]}" --out "$out" "$@"
