# Runs in a clean Debian system: the wheel alone, no other package, no compiler, no network.
set -x
if command -v cc; then echo 'this system is not clean: it has a compiler' >&2; exit 1; fi
python3 -m venv /venv
/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index /given/*.whl
/venv/bin/mcast --version
# Nothing of it lies beside other packages.
test -z "$(find /venv/lib -path '*/site-packages/*' -prune -name 'LICENSE*')"
/venv/bin/mcast demo
/venv/bin/python -c 'import pymcast; print(pymcast.Group("239.255.1.3"), len(pymcast.interfaces()))'
/venv/bin/python -m pip uninstall --quiet --yes pymcast
test ! -e /venv/bin/mcast
