# shellcheck shell=bash disable=SC2034,SC2154
# What contrib/quickstart and contrib/check share. Sourced by bash; needs `root` (the repository) and
# `yes` (1: do not ask).

BUILD_PACKAGES="g++ meson ninja-build pkg-config libevent-dev libc-ares-dev libseccomp-dev libidn2-dev
  libunistring-dev liblmdb-dev libssl-dev libcrypt-dev libfmt-dev nlohmann-json3-dev libtomlplusplus-dev libcli11-dev"
DEMO_PACKAGES="swaks"
TEST_PACKAGES="clang-19 libclang-rt-19-dev lld-19 libgtest-dev libgmock-dev python3 python3-pytest python3-pytest-xdist
  python3-aiosmtpd python3-dnslib swaks libnet-ssleay-perl curl openssl dovecot-imapd dovecot-lmtpd
  dovecot-submissiond knot unbound msmtp libauthen-sasl-perl libio-socket-ssl-perl haproxy s-nail
  node-nodemailer testssl.sh iproute2"
ROLE_USERS="_postern-smtpd _postern-queued _postern-relay _postern-local _postern-key
  _postern-auth _postern-fetch"

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# agree QUESTION: yes without asking after --yes; no where nobody can be asked.
agree() {
  [ "$yes" = 1 ] && return 0
  [ -t 0 ] || return 1
  local answer
  read -r -p "$1 [Y/n] " answer
  case $answer in "" | y | Y | yes) return 0 ;; *) return 1 ;; esac
}

# as_root COMMAND...: with sudo where we are not root.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "this needs root, and there is no sudo: $*"
    sudo "$@"
  fi
}

# ensure_packages WHY PACKAGE...: installs those that are missing, after showing them.
ensure_packages() {
  local why=$1 package missing=()
  shift
  for package; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "Missing to $why: ${missing[*]}"
  agree "Install them with apt-get?" ||
    fail "please install them: apt-get install --no-install-recommends ${missing[*]}"
  apt-cache show "${missing[@]}" >/dev/null 2>&1 || as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install them"
}

# unpack PACKAGE DIRECTORY PROGRAM LIBRARY...: a mail server would take this host's mail over if it were installed,
# so it is only unpacked, once, with no rights of its own; the libraries that its program needs are installed.
unpack() {
  local package=$1 directory=$2 program=$3
  shift 3
  [ -x "$directory/$program" ] && return 0
  say "Unpacking Debian's $package; it is not installed"
  mkdir -p "$directory/download"
  apt-cache show "$package" >/dev/null 2>&1 || as_root apt-get update -qq
  (cd "$directory/download" && apt-get download -qq "$package" >/dev/null 2>&1) || fail "apt-get download $package"
  dpkg -x "$directory"/download/"$package"_*.deb "$directory"
  find "$directory" -type f -perm /6000 -exec chmod ug-s {} +
  rm -r "$directory/download"
  ensure_packages "run $package" "$@"
}

# As root the processes give up their rights and become users of their own. ensure_users [always]: for an
# ordinary user too, who has something run as root.
ensure_users() {
  local user missing=()
  [ "$(id -u)" = 0 ] || [ "${1:-}" = always ] || return 0
  for user in $ROLE_USERS; do
    getent passwd "$user" >/dev/null || missing+=("$user")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "Started by root, Postern's processes become these users, which are missing: ${missing[*]}"
  agree "Create them as system users?" || fail "please create them, or run this as an ordinary user"
  for user in "${missing[@]}"; do
    as_root useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
      "$user" || fail "useradd $user"
  done
}

# setup_build DIRECTORY OPTION...: configures it once, and anew when the options change; a directory that
# somebody else configured stays as it is.
setup_build() {
  local directory=$1
  shift
  [ -f "$directory/build.ninja" ] && [ ! -f "$directory/options" ] && return 0
  [ -f "$directory/build.ninja" ] && [ "$(cat "$directory/options")" = "$*" ] && return 0
  rm -rf "$directory"
  mkdir "$directory"
  meson setup "$directory" "$root" "$@" >"$directory/setup.log" 2>&1 ||
    fail "meson setup failed: $(tail -n 3 "$directory/setup.log")"
  printf '%s' "$*" >"$directory/options"
}

# build DIRECTORY [TARGET...]: quiet unless it fails.
build() {
  ninja -C "$@" >"$1/build.log" 2>&1 || {
    grep -E -A 6 'error|FAILED' "$1/build.log" | head -n 60 >&2
    fail "the build failed; all of it is in $1/build.log"
  }
  grep -h 'warning:' "$1/build.log" >>"$1/warnings.log" || true
}
