#!/usr/bin/env bash
# spin-sdk 5.2.0 and wasmcloud-component 0.2.0: no workspace can hold a component for each, though each alone is resolved.
#
# spin-sdk requires exactly wasi 0.13.1, and wasmcloud-component at least wasi 0.13.3. Cargo takes one version of 0.13 for a lock
# file, so it finds none, also if different members of a workspace depend on the two. A project that builds one handler for several
# hosts needs a workspace, with a lock file of its own, for each of these SDKs.
#
# wasmrun's guests for tests share a lock file, so wasmCloud's is built with wstd, the crate of its present template
# (docs/src/guides/services.md has the table).
#
# Seen: each alone: resolved; both: "failed to select a version for `wasi`"
#
# Needs cargo; compiles nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# A workspace with a member for each of the dependencies.
workspace() {
    rm -rf -- *
    echo '[workspace]' > Cargo.toml
    echo 'resolver = "3"' >> Cargo.toml
    echo "members = [$(printf '"%s",' "${@%% *}")]" >> Cargo.toml
    for dependency in "$@"; do
        local name=${dependency%% *}
        mkdir -p "$name/src"
        touch "$name/src/lib.rs"
        printf '[package]\nname = "guest-%s"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n' \
            "$name" "$name" "${dependency##* }" > "$name/Cargo.toml"
    done
    if cargo generate-lockfile 2> error; then
        echo "$* resolved"
    else
        echo "$* $(grep -o 'failed to select a version for `[a-z]*`' error | head -1)"
    fi
}

{
    workspace "spin-sdk 5.2.0"
    workspace "wasmcloud-component 0.2.0"
    workspace "spin-sdk 5.2.0" "wasmcloud-component 0.2.0"
} > "$folder.seen"
cat "$folder.seen"
diff - "$folder.seen" <<'EXPECTED'
spin-sdk 5.2.0 resolved
wasmcloud-component 0.2.0 resolved
spin-sdk 5.2.0 wasmcloud-component 0.2.0 failed to select a version for `wasi`
EXPECTED
rm -f "$folder.seen"
