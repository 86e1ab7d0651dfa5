#!/bin/sh
# Installs the product into a new folder, as in the image: `deploy/install.sh /opt/tallystick`.
# Every package is pinned by its hash in requirements.lock; nothing is compiled, and nothing is fetched later.
set -eu
umask 022
target=$1
cd "$(dirname "$0")/.."
[ ! -e "$target/bin" ] || { echo "$target is in use: name a new folder" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$target"
pip() { "$target/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
sed '/^# ---- for tests only/,$d' requirements.lock > "$work/product.txt"
pip install --no-compile --no-cache-dir --require-hashes --only-binary :all: -r "$work/product.txt"

# The wheel is built from a copy, so that the sources stay as they are.
cp -R vfl ledger scenarios pyproject.toml README.md LICENSE "$work"
pip wheel --no-deps --no-index --no-build-isolation --wheel-dir "$work/wheel" "$work"
pip install --no-compile --no-deps --no-index "$work"/wheel/*.whl

install -m 644 deploy/healthy.py "$target/healthy.py"
"$target/bin/python" -m compileall -q "$target/lib"   # nobody can write there when it runs
pip uninstall --yes setuptools pip                    # what runs installs nothing
"$target/bin/tallystick" --version
