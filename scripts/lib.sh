# shellcheck shell=bash
# Shell library of the scripts here; source it after `set -euo pipefail`. Keeps to bash 3.2 (macOS).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
export root cores

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

package_manager() {
    local tool
    for tool in apt-get dnf brew; do
        if command -v "$tool" >/dev/null 2>&1; then
            echo "$tool"
            return
        fi
    done
    echo none
}

# What a set needs, one entry a line: NAME or NAME|OTHER (the first that the system knows), and COMMAND=NAME is
# there when the command is. +NAME: where the system knows no such package, what wants it does without or is left out by name.
package_set() {
    case "$1-$2" in
    build-apt-get)
        printf '%s\n' cc=gcc libc6-dev cmake=cmake ninja=ninja-build pkg-config=pkg-config libssl-dev libp11-dev \
            libp11-kit-dev libcurl4-openssl-dev libsecp256k1-dev libcjson-dev libevent-dev libinih-dev libseccomp-dev \
            'libllhttp-dev|node-llhttp' softhsm2 pkcs11-tool=opensc curl=curl ca-certificates
        ;;
    test-apt-get)
        printf '%s\n' git=git libcmocka-dev clang-14='clang-14|clang' 'libclang-rt-14-dev|libclang-rt-dev' \
            +clang-format-14 'llvm-14|llvm' cppcheck shellcheck python3=python3 node=nodejs npm=npm \
            unshare=util-linux gdb=gdb nginx=nginx opensc-pkcs11 pcscd +vsmartcard-vpcd p11-kit-modules
        python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        ;;
    # Of these, what the unit tests need.
    unit-apt-get) printf '%s\n' git=git libcmocka-dev python3=python3 nginx=nginx ;;
    package-apt-get) printf '%s\n' git=git dpkg-shlibdeps=dpkg-dev fakeroot=fakeroot lintian=lintian xz=xz-utils ;;
    package-test-apt-get) printf '%s\n' debootstrap=debootstrap systemd-nspawn=systemd-container nsenter=util-linux ;;
    bench-apt-get) printf '%s\n' nginx=nginx python3=python3 ;;
    bench-dnf) printf '%s\n' nginx python3 ;;
    bench-brew) printf '%s\n' nginx python@3 ;;
    build-dnf)
        printf '%s\n' gcc cmake ninja-build pkgconf-pkg-config openssl-devel libp11-devel p11-kit-devel \
            libcurl-devel libsecp256k1-devel cjson-devel libevent-devel inih-devel libseccomp-devel llhttp-devel softhsm opensc curl
        ;;
    test-dnf)
        printf '%s\n' git libcmocka-devel libasan libubsan libtsan clang compiler-rt clang-tools-extra llvm cppcheck \
            ShellCheck python3 nodejs npm util-linux
        ;;
    build-brew)
        printf '%s\n' cmake ninja pkg-config openssl@3 libp11 p11-kit curl secp256k1 cjson libevent inih llhttp \
            softhsm opensc
        ;;
    test-brew) printf '%s\n' git cmocka llvm cppcheck shellcheck python@3 node ;;
    *) return 1 ;;
    esac
}

# Is this one package name installed?
package_installed() {
    case "$1" in
    apt-get) [ "$(dpkg-query -W -f '${db:Status-Status}' "$2" 2>/dev/null)" = installed ] ;;
    dnf) rpm -q "$2" >/dev/null 2>&1 ;;
    brew) brew list --versions "$2" >/dev/null 2>&1 ;;
    esac
}

package_known() {
    case "$1" in
    apt-get) apt-cache show --no-all-versions "$2" >/dev/null 2>&1 ;;
    *) true ;;
    esac
}

# Prints the entries (without COMMAND=) of which nothing is there yet.
missing_packages() {
    local manager=$1 set entry name found
    shift
    for set in "$@"; do
        package_set "$set" "$manager" | while IFS= read -r entry; do
            case "$entry" in
            *=*) if command -v "${entry%%=*}" >/dev/null 2>&1; then continue; fi ;;
            esac
            found=
            for name in $(echo "${entry#*=}" | tr '|+' '  '); do
                if package_installed "$manager" "$name"; then found=1; fi
            done
            [ -n "$found" ] || echo "${entry#*=}"
        done
    done
}

# First alternative that the package lists know; nothing when they know none.
pick_package() {
    local name
    for name in $(echo "$2" | tr '|+' '  '); do
        if package_known "$1" "$name"; then
            echo "$name"
            return
        fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        say "installing packages needs root: $*"
        sudo "$@"
    else
        die "packages are missing and there is neither root nor sudo; as root, run: $*"
    fi
}

# install_packages SET...: installs what is missing of the sets `build` and `test`; asks for sudo only then.
install_packages() {
    local manager missing entry name chosen=() updated=
    manager=$(package_manager)
    if [ "$manager" = none ]; then
        say "no apt, dnf or brew here: taking it that the packages named in scripts/lib.sh are installed"
        return 0
    fi
    missing=$(missing_packages "$manager" "$@")
    [ -n "$missing" ] || return 0
    for entry in $missing; do
        name=$(pick_package "$manager" "$entry")
        if [ -z "$name" ] && [ "$manager" = apt-get ] && [ -z "$updated" ]; then
            as_root apt-get update -qq >&2
            updated=1
            name=$(pick_package "$manager" "$entry")
        fi
        if [ -z "$name" ]; then
            case "$entry" in
            +*) say "no package ${entry#+} here: what wants it does without or is left out" && continue ;;
            *) die "the package lists know none of: $entry" ;;
            esac
        fi
        chosen+=("$name")
    done
    [ "${#chosen[@]}" -gt 0 ] || return 0
    say "installing: ${chosen[*]}"
    case "$manager" in
    apt-get)
        if ! apt_install "${chosen[@]}"; then
            [ -z "$updated" ] || return 1
            as_root apt-get update -qq >&2 # the lists were older than the archive
            apt_install "${chosen[@]}"
        fi
        ;;
    dnf) as_root dnf install -y -q "${chosen[@]}" >&2 ;;
    brew) brew install -q "${chosen[@]}" >&2 ;;
    esac
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Use-Pty=0 "$@" >&2 </dev/null
}

# build_preset PRESET [TARGET...]: configures and builds; prints the folder. Quiet unless it fails.
build_preset() {
    local preset=$1 dir log
    shift
    case "$preset" in
    release) dir=$root/build ;;
    *) dir=$root/build-$preset ;;
    esac
    mkdir -p "$dir"
    log=$dir/build.log
    set -- ${1:+--target} "$@"
    local extra=()
    # The preset names Debian 12's; elsewhere any clang with libFuzzer does.
    if [ "$preset" = fuzz ] && ! command -v clang-14 >/dev/null; then extra=(-DCMAKE_C_COMPILER=clang); fi
    if ! (cd "$root" && cmake --preset "$preset" ${extra[@]+"${extra[@]}"} && cmake --build "$dir" -j "$cores" "$@") >"$log" 2>&1; then
        grep -E 'error|warning:|FAILED|CMake Error' -A 6 "$log" | head -60 >&2 || tail -40 "$log" >&2
        die "the $preset build failed; all of it is in ${log#"$root"/}"
    fi
    echo "$dir"
}

# The module file of SoftHSM2, wherever this system puts it.
softhsm_module() {
    local file
    for file in "${SOFTHSM2_MODULE:-}" /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
        /usr/lib64/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so \
        /opt/homebrew/lib/softhsm/libsofthsm2.so; do
        if [ -n "$file" ] && [ -f "$file" ]; then
            echo "$file"
            return
        fi
    done
    die "SoftHSM2's module libsofthsm2.so was not found; SOFTHSM2_MODULE can name it"
}

# n random decimal digits.
random_digits() {
    local digits
    digits=$(od -An -v -tu1 -N "$(($1 * 4))" /dev/urandom | tr -cd '0-9' | cut -c1-"$1")
    printf '%s' "$digits"
}

# make_softhsm_token DIR LABEL: a fresh SoftHSM token below DIR: softhsm2.conf, tokens/ and the 0600 file pin. The
# PINs reach the tool by the environment, which only this user can read; never by argv.
make_softhsm_token() (
    umask 077
    dir=$1
    mkdir -p "$dir/tokens"
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$dir" \
        >"$dir/softhsm2.conf"
    export SOFTHSM2_CONF=$dir/softhsm2.conf
    module=$(softhsm_module)
    so_pin=$(random_digits 16)
    pin=$(random_digits 16)
    export so_pin pin
    if ! {
        pkcs11-tool --module "$module" --init-token --slot-index 0 --label "$2" --so-pin env:so_pin &&
            pkcs11-tool --module "$module" --token-label "$2" --init-pin --login --login-type so \
                --so-pin env:so_pin --new-pin env:pin
    } >"$dir/init.log" 2>&1; then
        die "the SoftHSM token could not be made: $(cat "$dir/init.log")"
    fi
    rm -f "$dir/init.log"
    printf '%s\n' "$pin" >"$dir/pin.new"
    mv "$dir/pin.new" "$dir/pin" # last: a token with a pin file is a finished one
)
