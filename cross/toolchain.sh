# shellcheck shell=bash
# Sourced behind common.sh: which cargo builds for a target, and with which flags.

# ARMv6's C library and linker: Debian's armhf is ARMv7 code throughout.
zig_version=0.17.1

# Whether rustup brought the target's standard library, with a C library in it.
has_rustup_library() {
    command -v rustc >/dev/null 2>&1 && [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)/self-contained" ]
}

# install_toolchain TARGET: what the Debian way of building it needs.
install_toolchain() {
    local compiler package foreign=()
    has_rustup_library "$1" && return
    compiler=$(of "$1" compiler)
    package=$(of "$1" package)
    command -v apt-get >/dev/null 2>&1 ||
        fail "without apt-get, rustup has to bring the library: rustup target add $1"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    local packages=(rustc-web cargo-web rust-web-src binutils git python3)
    case $compiler in
    gcc:x86_64-*) packages+=(gcc libc6-dev musl-dev) ;;
    gcc:*)
        packages+=("gcc-$(printf %s "$compiler" | cut -d: -f2)" libc6-dev gcc "musl-dev:$package")
        foreign=("$package")
        ;;
    zig:*) packages+=(gcc libc6-dev python3-venv) ;;
    esac
    if ! dpkg-query --show "${packages[@]}" >/dev/null 2>&1; then
        # An architecture that Debian's dpkg does not know yet has no packages to find.
        for package in "${foreign[@]}"; do
            [ "$package" = "$(dpkg --print-architecture)" ] || "${as_root[@]}" dpkg --add-architecture "$package"
        done
        # A mirror in the middle of a sync fails one list and leaves the others usable.
        "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=600 update -qq >&2 || echo "apt-get update had failures; going on" >&2
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 \
            install -y --no-install-recommends "${packages[@]}" >/dev/null || fail "apt-get could not install ${packages[*]}"
    fi
    case $compiler in
    zig:*)
        if [ "$("$out/zig/bin/python" -m ziglang version 2>/dev/null)" != "$zig_version" ]; then
            rm -rf "$out/zig"
            mkdir -p "$out"
            python3 -m venv "$out/zig"
            "$out/zig/bin/pip" --quiet --disable-pip-version-check install "ziglang==$zig_version"
        fi
        ;;
    esac
}

# use_toolchain TARGET: sets `cross_cargo_command` and the environment that it needs.
use_toolchain() {
    local compiler linker rustflags=() upper lower
    compiler=$(of "$1" compiler)
    upper=$(printf %s "$1" | tr 'a-z-' 'A-Z_')
    SOURCE_DATE_EPOCH=$(commit_secs)
    export SOURCE_DATE_EPOCH
    export CARGO_TARGET_DIR=$out
    # Where the folders lie is nobody's business, and not the same anywhere.
    rustflags+=("--remap-path-prefix=$root=/gateway" "--remap-path-prefix=$out=/target")
    rustflags+=("--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
    case $1 in
    # Thumb code is a quarter smaller, and every ARMv7 has it.
    armv7-*) rustflags+=(-Ctarget-feature=+thumb-mode) ;;
    esac
    unset CROSS_COMPILER CROSS_LIB CROSS_ZIG RUSTC_BOOTSTRAP "CARGO_TARGET_${upper}_LINKER"
    cross_build_std=()
    if has_rustup_library "$1"; then
        cross_cargo_command=(cargo)
    else
        if [ ! -x /usr/bin/cargo ] || [ ! -d /usr/share/doc/rust-web-src ]; then
            fail "there is no library for $1: rustup target add $1, or, on Debian, cross/build.sh --install $1"
        fi
        export CROSS_COMPILER=$compiler CROSS_LIB=$out/lib/$1 CROSS_ZIG=$out/zig/bin/python
        mkdir -p "$CROSS_LIB"
        case $compiler in
        gcc:*)
            linker=$(printf %s "$compiler" | cut -d: -f2)
            command -v "$linker-gcc" >/dev/null 2>&1 || fail "there is no $linker-gcc: cross/build.sh --install $1"
            # The standard library asks for libunwind; gcc has its functions under another name.
            cp "$("$linker-gcc" -print-file-name=libgcc_eh.a)" "$CROSS_LIB/libunwind.a"
            ;;
        zig:*) [ -x "$CROSS_ZIG" ] || fail "there is no zig: cross/build.sh --install $1" ;;
        esac
        export RUSTC_BOOTSTRAP=1 "CARGO_TARGET_${upper}_LINKER=$root/cross/cc"
        lower=$(printf %s "$1" | tr - _)
        export "CC_$lower=$root/cross/cc" "AR_$lower=$root/cross/ar"
        rustflags+=(-Clinker-flavor=gcc -Clink-self-contained=no -Ctarget-feature=+crt-static)
        rustflags+=("--remap-path-prefix=$(realpath "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust")=/rust")
        cross_build_std=("-Zbuild-std=std,panic_unwind,test" -Zbuild-std-features=optimize_for_size)
        # Debian's rustc has to be the first that its cargo finds.
        cross_cargo_command=(env "PATH=/usr/bin:$PATH" /usr/bin/cargo)
    fi
    # With a separator that no folder's name has.
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037' "${rustflags[@]}")
    export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\037'}
    cross_target=$1
}

# cross_cargo COMMAND OPTION…: cargo for the target last used.
cross_cargo() {
    local command=$1
    shift
    "${cross_cargo_command[@]}" "$command" --locked "${cross_build_std[@]}" --target "$cross_target" "$@"
}
