# A program must not meet data that a later version has written: it would refuse it, and
# the machine would have a service that does not run. So it is asked before the later
# program is replaced. Both numbers are one program's "version --json": format.
state=@DATA@/@STATE@
reads=@FORMAT@
if [ -e "$state" ]; then
	have=$(sed -n 's/.*"format"[[:space:]]*:[[:space:]]*\([0-9][0-9]*\).*/\1/p' "$state" | head -n 1)
	if [ "${have:-0}" -gt "$reads" ]; then
		cat >&2 <<-END
			@NAME@ @VERSION@ is not installed: @DATA@ is of format $have, and this version
			reads formats up to $reads. A later version has written it; nothing is changed, and that
			version goes on. Install that version or a later one, or move @DATA@
			away first: what is in it stays there, undelivered.
		END
		exit 1
	fi
fi
