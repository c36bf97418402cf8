# shellcheck shell=bash
# Sourced by the scripts beside it, from the root of the repository: the list of targets,
# folders, and how to end loudly.

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

root=$PWD
target_dir=${CARGO_TARGET_DIR:-$root/target}
case $target_dir in /*) ;; *) target_dir=$root/$target_dir ;; esac
# Programs of the targets, and what building them needs, apart from the host's own.
out=$target_dir/cross

# The targets that cross/targets lists.
targets() {
    awk '!/^#/ && NF { print $1 }' cross/targets
}

# of TARGET COLUMN: what cross/targets says of it (package, compiler, emulator, cpu, boards).
of() {
    awk -v target="$1" -v column="$2" '
        /^# target +package/ { for (i = 2; i <= NF; i++) at[$i] = i - 1 }
        $1 == target {
            found = 1
            if (column != "boards") { print $at[column]; exit }
            for (i = at[column]; i <= NF; i++) printf "%s%s", $i, i < NF ? " " : "\n"
        }
        END { exit !found }' cross/targets || fail "no target $1 in cross/targets, which has: $(targets | xargs)"
}

# Seconds since 1970 of the commit, for everything that carries a date.
commit_secs() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        printf '%s\n' "$SOURCE_DATE_EPOCH"
    else
        git log -1 --format=%ct || fail "outside a git repository SOURCE_DATE_EPOCH has to be set"
    fi
}

# What the workspace says its version is.
version() {
    sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml
}
