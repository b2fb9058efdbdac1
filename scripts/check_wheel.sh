#!/usr/bin/env bash
# Wheel and source distribution as users get them: the wheel in a fresh environment, and the fast lane from the unpacked source
# distribution, whose own package is taken away.
#
# scripts/check_wheel.sh [arguments of pytest, instead of -n 2]
#
# FOLDER is where it works (default: a temporary folder). BORROW=/path/to/venv takes the dependencies from there instead of
# installing them.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
folder=${FOLDER:-$(mktemp -d)}
mkdir -p "$folder" && cd "$folder"
rm -rf dist unpacked venv && mkdir unpacked
python3 -m venv venv
venv/bin/pip install --quiet build
venv/bin/python -m build --outdir dist "$top" > build.log || { tail -20 build.log; exit 1; }
tar xzf dist/jaxepi-*.tar.gz -C unpacked --strip-components 1
rm -rf unpacked/jaxepi unpacked/jaxepi.egg-info
wheel=$(echo dist/jaxepi-*.whl)
if [ -n "${BORROW:-}" ]; then
    venv/bin/pip install --quiet --no-deps "$wheel"
    "$BORROW/bin/python" -c 'import site; print(site.getsitepackages()[0])' > "$(venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/borrowed.pth"
else
    venv/bin/pip install --quiet "$wheel[test]"
fi
cd unpacked
../venv/bin/python -c 'import jaxepi; print(jaxepi.__version__, jaxepi.__file__)'
../venv/bin/python -m jaxepi materials --elements Ge
if [ $# = 0 ]; then set -- -n 2; fi
PATH="$folder/venv/bin:$PATH" ../venv/bin/python -P -m pytest "$@"
