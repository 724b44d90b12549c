# Starts the helper in a container, and takes it from standard input first where
# it is not there. Asks for no more than a POSIX shell, chmod and a folder that
# can be written to and executed from.
#
# Arguments: a random word that begins every line of the answers; the helper's
# file name; its SHA-256; the folder to be synced; how many of the folders below
# to pass over.
mark=$1 file=$2 sum=$3 root=$4 from=$5
mask=$(umask)
umask 077

say() { echo "$mark $*"; }
start() {
	umask "$mask"
	say start "$1"
	exec "$1" serve
}

# The helper says its SHA-256 where that is the right one. Its exit code alone
# would not do: a file that was cut short to nothing is a script without fault.
right() { [ "$("$1" check "$sum" 2>/dev/null </dev/null)" = "$sum" ]; }

set -- "${TMPDIR-}" /tmp /dev/shm /var/tmp "${HOME-}" "${root:+$root/.kfdev-sync}"
shift "$from"

# One that an earlier session left is taken if it is this user's and has the
# right content; it finds that out by itself.
for d; do
	p=$d/$file
	if [ -n "$d" ] && [ -f "$p" ] && [ ! -L "$p" ] && [ -O "$p" ] && right "$p"; then
		start "$p"
	fi
done

no=
for d; do
	from=$((from + 1))
	[ -n "$d" ] || continue
	if [ "$d" = "$root/.kfdev-sync" ] && [ -d "$root" ] && [ ! -d "$d" ]; then
		mkdir "$d" 2>/dev/null
	fi
	[ -d "$d" ] || continue
	# The name can't be guessed, so that no one has put anything there.
	t=$d/.kfdev-sync-new-$mark
	{ echo : >"$t"; } 2>/dev/null || { no="$no $d can't be written to;" && continue; }
	# A shell runs a file without a format as a script, but only where the file
	# system allows execution.
	if ! { chmod 700 "$t" && "$t"; } </dev/null >/dev/null 2>&1; then
		rm -f "$t"
		no="$no nothing may be executed in $d;"
		continue
	fi
	tools=shell
	[ "$(echo ab 2>/dev/null | head -c 1 2>/dev/null)" = a ] && tools=head
	[ $tools = head ] && [ "$(echo a 2>/dev/null | gzip -c 2>/dev/null | gzip -dc 2>/dev/null)" = a ] && tools=gzip
	say want "$(uname -m 2>/dev/null || echo unknown)" $tools "$d"
	read -r how size || {
		rm -f "$t"
		exit 1
	}
	# Nothing else is sent until the helper has said that it runs, so that it
	# does no harm if head reads on.
	case $how in
	gzip) head -c "$size" | gzip -dc >"$t" ;;
	head) head -c "$size" >"$t" ;;
	shell) while IFS= read -r line && [ "$line" != . ]; do printf "$line"; done >"$t" ;;
	esac
	if right "$t"; then
		p=$d/$file
		mv -f "$t" "$p" 2>/dev/null || p=$t
		for old in "$d"/.kfdev-sync-helper-*; do
			[ "$old" = "$p" ] || rm -f "$old" 2>/dev/null
		done
		start "$p"
	fi
	why=$("$t" check "$sum" 2>&1 </dev/null)
	rm -f "$t"
	say failed $from "in $d: $why"
	exit 1
done
say none "$no"
exit 1
