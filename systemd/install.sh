#!/bin/bash
# Put compressor-watcher on this machine as a service, or take it away again: `sudo make install`, `sudo make uninstall` in a
# checkout, `sudo compressor-watcher service install` and `uninstall` where the package is installed.
#
#   FROM=FILE      the interpreter of an environment that has the package (`service install` sets it): its packages are copied,
#                  nothing is downloaded
#   WHEELS=DIR     take all packages from wheels in DIR; nothing is downloaded. Made elsewhere, on the same kind of machine, by
#                  pip wheel --require-hashes --no-deps -r requirements.txt --wheel-dir DIR
#   PYTHON=FILE    the interpreter to build on, 3.11 or newer; default: the system's own
#
# What it puts, and nothing else:
#   /opt/compressor-watcher                              the environment: one release beside the other, `current` says which is in force
#   /usr/local/bin/compressor-watcher                    the command
#   /usr/local/share/man/man1/compressor-watcher.1       the manual page
#   /etc/systemd/system/compressor-watcher.service       the unit (replaced by each install; yours are the drop-ins)
#   /etc/logrotate.d/compressor-watcher                  rotation of the audit file     (left alone once you changed it)
#   /etc/sysctl.d/60-compressor-watcher.conf             inotify limits                 (left alone once you changed it)
#   /etc/compressor-watcher/{config.toml,credentials/}   configuration                  (never changed once it is there)
# and the system user compressor-watcher.
#
# Again: builds the new release beside the one that runs, and swaps. The daemon that runs keeps its own files until it is restarted.
set -euo pipefail
umask 022

readonly source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly name=compressor-watcher
only_version= base_python=
if [ -n "${FROM-}" ]; then
  only_version=$("$FROM" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  base_python=$("$FROM" -c 'import os, sys; print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))')
fi
readonly only_version base_python how=${FROM:+"$name service"}
readonly prefix=/opt/$name
readonly command=/usr/local/bin/$name
readonly manual=/usr/local/share/man/man1/$name.1
readonly etc=/etc/$name
readonly unit=/etc/systemd/system/$name.service
readonly rotation=/etc/logrotate.d/$name
readonly limits=/etc/sysctl.d/60-$name.conf

changes=0
say() { echo "$*"; }
did() { changes=$((changes + 1)); say "  $*"; }
die() { echo "$name: $*" >&2; exit 1; }

# --- the environment ------------------------------------------------------------------------------------------------------

# Whether an unprivileged user can run this interpreter (one below /root cannot be reached) and it is new enough.
# Packages that are copied fit the minor version they were installed for and no other.
is_fit_python() {
  setpriv --reuid=65534 --regid=65534 --clear-groups "$1" -c \
    'import sys; sys.exit(sys.version_info < (3, 11) or sys.argv[1] not in ("", "%d.%d" % sys.version_info[:2]))' \
    "$only_version" 2>/dev/null
}

find_python() {
  local candidate
  if [ -n "${PYTHON-}" ]; then
    is_fit_python "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.11 or newer that every user can run"
    echo "$PYTHON"
    return
  fi
  for candidate in $base_python /usr/bin/python3 /usr/bin/python3.1[1-9] /usr/local/bin/python3 /usr/local/bin/python3.1[1-9]; do
    if is_fit_python "$candidate"; then echo "$candidate"; return; fi
  done
  die "no Python ${only_version:-3.11 or newer} found that every user can run: apt install python3 python3-venv, or set PYTHON="
}

# Names a release by what goes into it: the same sources on the same Python are the same release.
release_id() {
  local python=$1 version digest
  if [ -n "${FROM-}" ]; then
    version=$("$FROM" -c 'import watcher; print(watcher.__version__)')
    digest=$("$FROM" -m watcher.service.replica digest)
    echo "$version-$digest"
    return
  fi
  version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source_dir/watcher/__init__.py")
  digest=$(
    cd "$source_dir"
    {
      "$python" -VV
      find watcher systemd pyproject.toml requirements.txt config.example.toml docs/SERVICE.md docs/$name.1 -type f \
        ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum
  )
  echo "$version-${digest:0:12}"
}

pip_install() {
  local release=$1
  shift
  "$release/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --root-user-action=ignore "$@"
}

# The locked packages; the lock names every one. Wheels that were built from them elsewhere have hashes of their own: those are
# taken by version, and what they were made of was checked when they were made (pip wheel --require-hashes).
install_packages() {
  local release=$1 locked=$source_dir/requirements.txt
  if [ -z "${WHEELS-}" ]; then
    pip_install "$release" --no-deps --require-hashes --requirement "$locked"
  else
    pip_install "$release" --no-deps --no-index --find-links "$WHEELS" \
      --requirement <(sed -e '/^ *--hash=/d' -e 's/ *\\$//' "$locked")
  fi
}

build_release() {
  local release=$1 python=$2 modules="watcher.app, watcher.cli"
  rm -rf "$release" # what an install that was broken off left
  mkdir -p "$(dirname "$release")"
  if [ -n "${FROM-}" ]; then
    "$python" -m venv --without-pip "$release"
    "$FROM" -m watcher.service.replica copy "$release" || die "nothing was changed"
  else
    "$python" -m venv "$release" || die "no environment could be made with $python: apt install python3-venv"
    install_packages "$release"
    pip_install "$release" --no-deps --no-build-isolation "$source_dir"
    modules="$modules, watcher.engine.server" # the lock has every extra
  fi
  install -D -m 755 "$source_dir/systemd/refresh-credentials" "$release/libexec/refresh-credentials"
  mkdir -p "$release/share"
  install -m 644 -t "$release/share" "$source_dir/config.example.toml" "$source_dir/docs/SERVICE.md" \
    "$source_dir/docs/$name.1" \
    "$source_dir/systemd/folders.conf" "$source_dir/systemd/$name@.service" "$source_dir/systemd/$name.sysusers" \
    "$source_dir/systemd/$name.service" "$source_dir/systemd/$name.logrotate" "$source_dir/systemd/60-$name.conf"
  setpriv --reuid=65534 --regid=65534 --clear-groups "$release/bin/python" -c "import $modules" ||
    die "the new environment $release does not work; what is in force stays as it is"
  touch "$release/.complete"
}

# Point a link somewhere else in one step.
swap_link() {
  local target=$1 link=$2
  if [ "$(readlink "$link")" != "$target" ]; then
    ln -sfn "$target" "$link.new"
    mv -T "$link.new" "$link"
    did "$link -> $target"
  fi
}

# The processes that have files of a directory in use.
users_of() { grep -ls -- " $1/" /proc/[0-9]*/maps | cut -d/ -f3 || true; }

# Keep the release in force and those in use; the rest is of no use any more.
prune_releases() {
  local current=$1 release
  for release in "$prefix"/releases/*; do
    if [ "$release" != "$current" ] && [ -z "$(users_of "$release")" ]; then
      rm -rf "$release"
      did "$release removed"
    fi
  done
}

# --- single files ---------------------------------------------------------------------------------------------------------

# Put a file in one step; nothing happens where it is there already.
put() {
  local mode=$1 from=$2 to=$3
  if ! cmp -s "$from" "$to"; then
    install -D -m "$mode" "$from" "$to.new"
    mv -T "$to.new" "$to"
    did "$to"
  fi
}

# Whether somebody changed a file since one of our releases brought it. `origin` is its name in a release.
is_changed() {
  local file=$1 origin=$2 release
  [ -e "$file" ] || return 1
  for release in "$prefix"/releases/*; do
    if cmp -s "$file" "$release/share/$origin"; then return 1; fi
  done
  return 0
}

put_unless_changed() {
  local origin=$1 to=$2
  if is_changed "$to" "$origin"; then
    cmp -s "$to" "$source_dir/systemd/$origin" || say "  $to is left as you changed it; ours is $prefix/share/$origin"
  else
    put 644 "$source_dir/systemd/$origin" "$to"
  fi
}

remove_unless_changed() {
  local origin=$1 file=$2
  if is_changed "$file" "$origin"; then say "  $file is left: you changed it"; else rm -f "$file"; fi
}

put_configuration() {
  local config=$etc/config.toml
  [ -d "$etc" ] || install -d -m 755 "$etc"
  if [ ! -d "$etc/credentials" ]; then
    install -d -m 700 "$etc/credentials"
    did "$etc/credentials"
  fi
  if [ ! -e "$config" ]; then
    # The example, with the two places set that commands beside the service have to know as well.
    sed -e "s|^# \(state_dir = \"/var/lib/$name\"\)|\1|" -e "s|^# \(audit = \"/var/log/$name/audit.jsonl\"\).*|\1|" \
      "$source_dir/config.example.toml" |
      install -m 640 -g "$name" /dev/stdin "$config.new"
    mv -T "$config.new" "$config"
    did "$config"
  fi
}

reload_systemd() { if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi; }

# --- what can be asked for ------------------------------------------------------------------------------------------------

check_ground() {
  local tool
  [ "$(id -u)" = 0 ] || die "root is needed: sudo ${how:-make} $1"
  for tool in systemctl systemd-sysusers setpriv; do
    command -v "$tool" >/dev/null || die "$tool is missing; the service needs systemd and util-linux"
  done
  if [ -e "$prefix" ] && [ ! -d "$prefix/releases" ]; then
    die "$prefix is there and was not made by this; move it away first"
  fi
  if [ -e "$command" ] && [ "$(readlink "$command")" != "$prefix/bin/$name" ]; then
    die "$command is there and was not made by this; move it away first"
  fi
}

install_all() {
  local python release part unit_before
  check_ground install
  python=$(find_python)
  release=$prefix/releases/$(release_id "$python")
  mkdir -p "$prefix/releases"
  exec 9<"$prefix"
  flock --nonblock 9 || die "another install is under way"
  say "Putting $(basename "$release") onto this machine:"
  if [ ! -e "$release/.complete" ]; then
    build_release "$release" "$python"
    did "$release"
  fi
  systemd-sysusers "$source_dir/systemd/$name.sysusers"
  put_configuration
  put_unless_changed "$name.logrotate" "$rotation"
  put_unless_changed "60-$name.conf" "$limits"
  swap_link "releases/$(basename "$release")" "$prefix/current"
  # so that the directory is itself an environment, whichever release is in force
  for part in bin lib libexec share pyvenv.cfg; do swap_link "current/$part" "$prefix/$part"; done
  swap_link "$prefix/bin/$name" "$command"
  put 644 "$source_dir/docs/$name.1" "$manual"
  unit_before=$(stat -c %i "$unit" 2>/dev/null || true)
  put 644 "$source_dir/systemd/$name.service" "$unit"
  if [ "$(stat -c %i "$unit")" != "$unit_before" ]; then reload_systemd; fi
  prune_releases "$release"
  [ "$changes" != 0 ] || say "  nothing to change"
  say_next
}

say_next() {
  if [ -d /run/systemd/system ] && systemctl --quiet is-active "$name.service"; then
    cat <<END
The service still runs what it was started with. To use the new release (no image is lost; what is under way ends first):
  sudo systemctl restart $name
END
    return
  fi
  cat <<END
Nothing is enabled. What to do next:
  1. sudo editor $etc/config.toml                                  folders, store, public_url
  2. sudo install -m 600 /dev/stdin $etc/credentials/compressor_api_key     paste the API key, Enter, Ctrl-D
  3. sudo systemctl edit $name           which folders it may see and change; see $prefix/share/folders.conf
  4. sudo sysctl --system                               the inotify limits, for large trees
  5. sudo env CREDENTIALS_DIRECTORY=$etc/credentials $name check
  6. sudo systemctl enable --now $name
Then: journalctl -u $name -o cat -f, and sudo $name status. More in $prefix/share/SERVICE.md.
END
}

uninstall_all() {
  local users
  check_ground uninstall
  if [ -e "$unit" ] && [ -d /run/systemd/system ]; then systemctl --quiet disable --now "$name.service"; fi
  users=$(users_of "$prefix" | paste -sd' ')
  [ -z "$users" ] || die "still in use by process $users (another instance?): stop it first; so far the service was stopped and disabled"
  remove_unless_changed "$name.logrotate" "$rotation"
  remove_unless_changed "60-$name.conf" "$limits"
  rm -f "$unit" "$command" "$manual"
  rm -rf "$prefix"
  reload_systemd
  cat <<END
Removed. Kept, since they are yours: $etc, drop-ins in $unit.d,
/var/lib/$name (the journal), /var/log/$name (the audit file), and the user $name, whom they belong to.
END
}

case ${1-} in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) die "usage: install.sh install|uninstall" ;;
esac
