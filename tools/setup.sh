#!/bin/sh
# Sets this checkout up: system packages (Debian, Ubuntu), .venv, and the package in editable mode.
#
#   sh tools/setup.sh [demo|test|bench]   demo (the default): what `make demo` needs
#                                         test: that, the test and lint tools, and a virtual display
#                                         bench: that, and the peers that the benchmarks compare with
#
# Does nothing when all is in place. PYTHON names the interpreter to use, VENV the environment's folder.
set -eu

cd "$(dirname "$0")/.."
what=${1:-demo}
venv=${VENV:-.venv}

case $what in
    demo) extras="" ;;
    test) extras="[test,lint]" ;;
    bench) extras="[test,lint,bench]" ;;
    *) echo "setup: what to set up is 'demo', 'test' or 'bench', not '$what'." >&2; exit 2 ;;
esac

fail() {
    echo "setup: $1" >&2
    exit 1
}

# --- Nothing to do? The stamp holds what the environment was made from. ---------------------------------------------

display=no # does the asked-for need a display in memory, as the tests do on Linux?
if [ "$what" != demo ] && [ "$(uname -s)" = Linux ]; then
    display=yes
fi

stamp=$venv/.set-up-$what
made_from="$(pwd) $(cat pyproject.toml tools/setup.sh | cksum)"
if [ -x "$venv/bin/sslprofiler" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$made_from" ] &&
    { [ $display = no ] || command -v xvfb-run >/dev/null; }; then
    exit 0
fi

# --- Python 3.11 or newer -------------------------------------------------------------------------------------------

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "no Python 3.11 or newer was found (tried: ${PYTHON:-python3 python3.13 python3.12 python3.11 python}).
Install one, or name it: make PYTHON=/path/to/python3 ..."

# --- System packages ------------------------------------------------------------------------------------------------

installed() { # is this Debian package installed?
    dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -q '^installed$'
}

wanted=""
# Debian's Python comes without the module that puts pip into an environment.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    wanted="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
fi
# A display where there is none: an X server in memory, software OpenGL, and what Qt's xcb platform loads.
if [ $display = yes ]; then
    wanted="$wanted xvfb xauth fonts-dejavu-core libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri
        libglib2.0-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
        libxcb-render-util0 libxcb-shape0 libxcb-xfixes0 libxcb-xinerama0 libxkbcommon-x11-0"
fi

if command -v dpkg-query >/dev/null; then
    missing=""
    for package in $wanted; do
        # Newer releases call some libraries <name>t64.
        installed "$package" || installed "${package}t64" || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        root=""
        if [ "$(id -u)" -ne 0 ]; then
            root=sudo
            # Ask for a password only where somebody can type one.
            if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
                fail "these system packages are missing, and installing them takes rights that you don't have here.
Ask for: apt-get install --no-install-recommends$missing"
            fi
        fi
        echo "setup: installing system packages:$missing"
        $root apt-get update -qq || true # a stale third-party list need not stop us
        $root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends $missing >/dev/null ||
            fail "apt-get could not install the system packages; its messages are above.
Needed:$missing"
    fi
elif [ $display = yes ] && ! command -v xvfb-run >/dev/null; then
    fail "the tests open windows and need xvfb-run, and this is no Debian that apt-get could install it on.
Install your system's packages of: xvfb, xauth, Mesa's OpenGL and EGL, libxcb-cursor, libxkbcommon-x11."
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    fail "$python has no venv module. Install your system's package of it (often named python3-venv)."
fi

# --- The environment ------------------------------------------------------------------------------------------------

if ! "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "setup: making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
pip="$venv/bin/python -m pip --disable-pip-version-check"

# uv installs many times faster than pip. It reads none of pip's settings, so an index of one's own is passed on.
index=${PIP_INDEX_URL:-$($pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ]; then
    export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
fi
echo "setup: installing the package and what it needs into $venv (torch is large: this takes minutes the first time)"
if $pip install -q uv && "$venv/bin/uv" pip install -q --python "$venv/bin/python" -e ".$extras"; then
    :
else
    echo "setup: uv did not manage; trying pip"
    $pip install -q -e ".$extras" || fail "the Python packages could not be installed; pip's messages are above."
fi

# Each environment holds those before it.
for held in demo test bench; do
    printf '%s\n' "$made_from" >"$venv/.set-up-$held"
    [ "$held" != "$what" ] || break
done
