#!/usr/bin/env bash
# Makes the Python stubs of nemcon's protos and of kv.proto, in generated/.
#
#   examples/python/generate.sh [PYTHON]
#
# Needs what requirements.txt names. PYTHON is the interpreter that has it, by
# default python3.
set -euo pipefail
python=${1:-python3}
cd "$(dirname "$0")"

# Made beside and moved, so that what is there is always whole.
made=$(mktemp -d generated.XXXXXX)
trap 'rm -rf "$made"' EXIT
mapfile -t protos < <(cd ../../proto && find . -name '*.proto' -printf '%P\n' | sort)
"$python" -m grpc_tools.protoc --proto_path=../../proto --proto_path=. \
    --python_out="$made" --grpc_python_out="$made" "${protos[@]}" kv.proto
rm -rf generated
mv -T "$made" generated
chmod 755 generated
