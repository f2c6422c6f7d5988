#!/bin/sh
# SPDX-License-Identifier: MIT
# ./bootstrap on machines that lack something: a PATH of few tools, and false ones in place of the
# package manager and of configure.
. "${QDB_TOP:-.}/tests/harness/tap.sh"

mkdir "$tmp/bin" "$tmp/tree"
cp "$QDB_TOP/bootstrap" "$tmp/tree"
touch "$tmp/tree/configure.ac" "$tmp/tree/Makefile.am"
for tool in sh awk cat dirname basename env find grep mkdir tail echo rm touch; do
    ln -s "$(command -v $tool)" "$tmp/bin/$tool"
done
tool() { printf '#!/bin/sh\n%s\n' "$2" >"$tmp/bin/$1" && chmod +x "$tmp/bin/$1"; }
bootstrap() { (PATH=$tmp/bin && cd / && "$tmp/tree/bootstrap" "$@"); }

capture bootstrap
is "without a word it says how to use it" "$status" 2
like "on the way of messages" "$err" '^usage: ./bootstrap run'

# An ordinary user, no package manager.
tool id 'echo 1000'
capture bootstrap run
is "what is missing ends it" "$status$out" 1
like "what is missing is named" "$err" 'cc make autoconf automake pkg-config readline libpcre2-8'
like "with the command for Debian" "$err" 'apt-get install gcc libc6-dev make .*libreadline-dev'
like "for Fedora" "$err" 'dnf install gcc .*readline-devel'
like "for Arch" "$err" 'pacman -S --needed gcc .*readline'
like "for macOS" "$err" 'brew install autoconf .*readline'
unlike "tests need more than running" "$err" cmocka
capture bootstrap check
like "and say so" "$err" 'apt-get install .*libcmocka-dev groff-base tmux'

# An ordinary user with sudo that asks for a password, on Debian.
tool apt-get 'echo "apt-get $*" >>"$LOG"'
tool sudo 'exit 1'
export LOG="$tmp/log"
capture bootstrap run
is "without the right to install it stops" "$status" 1
check "having tried nothing" test ! -e "$tmp/log"

# Root on Debian: everything is installed, built by the false tools, and started.
tool id 'echo 0'
tool apt-get 'echo "apt-get $*" >>"$LOG"; [ -e "$LOG.lists" ] || { echo >"$LOG.lists"; exit 100; }
case $* in *install*)
    for t in cc make autoconf automake pkg-config; do
        printf "#!/bin/sh\nexit 0\n" >"'"$tmp"'/bin/$t"
        "'"$(command -v chmod)"'" +x "'"$tmp"'/bin/$t"
    done ;;
esac'
tool autoreconf 'printf "#!/bin/sh\necho >Makefile\n" >configure; "'"$(command -v chmod)"'" +x configure'
mkdir -p "$tmp/tree/build"
printf '#!/bin/sh\necho "qdb in $PWD:"\nprintf "<%%s>" "$@"\ncat\n' >"$tmp/tree/build/qdb"
chmod +x "$tmp/tree/build/qdb"
out=$(echo input | bootstrap run "a b" -ex 2>"$tmp/err")
is "run starts qdb where the user is, with arguments and input" "$out" "qdb in /:
<a b><-ex>input"
want='apt-get install -y -q --no-install-recommends gcc libc6-dev make autoconf automake pkg-config'
want="$want libreadline-dev libpcre2-dev"
is "packages are installed, their lists fetched after a first failure" "$(cat "$tmp/log")" "$want
apt-get update -q
$want"
rm "$tmp/log"
out=$(bootstrap run </dev/null 2>"$tmp/err")
check "the second time nothing is installed" test ! -e "$tmp/log"
is "nor said" "$(cat "$tmp/err")" ""

tool make 'echo "error: broken"; exit 2'
capture bootstrap run
is "a build that fails is no success" "$status$out" 1
like "and shows why" "$err" 'error: broken'
finish
