#!/usr/bin/env bash
# Restores the files of one snapshot without Lifeboat, as the section "Restore by hand" of doc/format.md says. It needs
# bash, age 1.3 or newer, zstd, jq and awk. It trusts the copy (no signature and no ID is verified), and it is slow.
#
#   restore-by-hand.sh COPY IDENTITY DIR [RECORD]
#
# COPY is the repository's directory, IDENTITY an age identity file, DIR a new or empty directory, RECORD the number of
# the snapshot's record: the 7 of s7. Without it the newest snapshot of any source is restored.
set -euo pipefail
umask 077
export LC_ALL=C
die() { printf 'restore-by-hand: %s\n' "$*" >&2; exit 1; }

[ $# -ge 3 ] || die "usage: $0 COPY IDENTITY DIR [RECORD]"
R=$1 identity=$2 to=$3 want=${4-}
[ "$(jq -r '"\(.lifeboat) \(.format)"' "$R/lifeboat.json")" = "repository 1" ] || die "$R holds no repository of format 1"
mkdir -p -- "$to"
[ -z "$(ls -A -- "$to")" ] || die "$to is not empty"
tmp=$(mktemp -d "$to/.by-hand.XXXXXX") # decrypted frames: beside the files, so that content goes nowhere else
trap 'rm -rf -- "$tmp"' EXIT && mkdir "$tmp/frames"
def='def ref: "\(.frame):\(.off):\(.len)";' # for jq: a ref in one word

# The records, without those of dropped snapshots; the index that the newest record names; the identities of the epochs.
for f in "$R"/journal/writer/[0-9]*; do IFS= read -r line <"$f" && printf '%s\n' "$line"; done >"$tmp/journal"
root=$(jq -rs --arg want "$want" "$def"'[.[].drop.seq | numbers] as $gone | map(select(.type == "snapshot" and
	([.seq] | inside($gone) | not) and ($want == "" or "\(.seq)" == $want)).snapshot.root) | last | ref' "$tmp/journal")
[ "$root" != null:null:null ] || die "$R has no such snapshot"
declare -A place
for digest in $(jq -rs 'map(.indexes | arrays) | last | .[]?' "$tmp/journal"); do zstd -dcq <"$R/index/$digest" >>"$tmp/index"; done
awk '$1 == "pack" { pack = $2; next } length($1) == 32 && $1 pack !~ /[^0-9a-f]/ { print $1, pack, $2, $3 }' "$tmp/index" >"$tmp/places"
while read -r id pack off len; do place[$id]="$pack $off $len"; done <"$tmp/places"
epochs=
for f in "$R"/keys/epoch-*; do if key=$(age -d -i "$identity" "$f" 2>>"$tmp/errors" | jq -r .identity); then epochs+=$key$'\n'; fi; done
[ -n "$epochs" ] || die "$identity opens no key of $R: $(tail -n 2 "$tmp/errors")"
set -f

# piece FILE OFFSET LENGTH: that part of a file.
piece() {
	case $2$3 in *[!0-9]*) die "not a place: $2 $3" ;; esac
	head -c $((10#$2 + 10#$3)) -- "$1" | tail -c "$3"
}
# node FRAME OFFSET LENGTH: that part of a decompressed frame. The last 64 frames are kept.
node() {
	[ -n "${place[$1]-}" ] || die "the index does not know frame $1"
	if [ ! -e "$tmp/frames/$1" ]; then
		set -- "$@" ${place[$1]}
		piece "$R/packs/${4:0:2}/$4" "$5" "$6" | age -d -i <(printf '%s' "$epochs") | zstd -dcq >"$tmp/frame"
		mv "$tmp/frame" "$tmp/frames/$1"
		ls -t "$tmp/frames" | awk 'NR > 64' | while read -r old; do rm "$tmp/frames/$old"; done
	fi
	piece "$tmp/frames/$1" "$2" "$3"
}
# nodes REF...: those pieces, one after another.
nodes() {
	local ref
	for ref; do node ${ref//:/ }; done
}

nodes "$root" >"$tmp/root"
[ "$(jq -r '"\(.lifeboat) \(.format)"' "$tmp/root")" = "tree 1" ] || die "not a tree of format 1"
refs=$(jq -r "$def"'.files[]?.ref | ref' "$tmp/root")
nodes $refs | jq -r "$def"'[.kind, .size, .mode, .mtime, "=" + ([.extents[]?.ref | ref] | join(" ")),
	((.link // "-", .name) | gsub("[\u0001-\u001f\u007f]"; "//"))] | map(tostring) | join("\t")' >"$tmp/files"
links=() # what each leads to, where it stands, and its time: made last, so that nothing is written through one
# unescape VARIABLE TEXT: sets it to the text without escapes.
unescape() {
	[[ $2 =~ ^([^%]|%[0-9A-Fa-f][0-9A-Fa-f])+$ ]] || die "bad escape in $2"
	local backslashed=${2//\\/\\\\}
	printf -v "$1" %b "${backslashed//%/\\x}"
}
while IFS=$'\t' read -r kind size mode mtime refs link escaped; do
	unescape name "$escaped"
	case "$escaped /$name/" in *%00* | *//* | */./* | */../*) die "unsafe name $escaped" ;; esac
	[[ $mode =~ ^[0-7]{1,3}$ ]] || die "bad mode of $escaped"
	out=$to/$name
	if [ "$kind" = dir ]; then
		mkdir -p -- "$out" && chmod "$mode" -- "$out"
		continue
	fi
	[ ! -e "$out" ] || die "$escaped is there twice"
	mkdir -p -- "${out%/*}"
	if [ "$kind" = link ]; then
		case $link in *%00*) die "unsafe link $escaped" ;; esac
		unescape where "$link"
		links+=("$where" "$out" "$mtime")
		continue
	fi
	nodes ${refs#=} | awk '
		$0 == "lifeboat extents 1" { n = 0; next }
		NR == 1 { exit 1 }
		$1 == "f" { frame[n++] = $2; next }
		$1 == "d" { print frame[$2], $3, $4; next }
		$1 == "p" { printf "%s %.0f %.0f\n", frame[$2], $3 + $6, $7; next }
		$1 != "z" { exit 1 }
		{ print "zero", 0, $2 }' >"$tmp/extents"
	while read -r frame off len; do
		if [ "$frame" = zero ]; then head -c "$len" /dev/zero; else node "$frame" "$off" "$len"; fi
	done <"$tmp/extents" >"$out"
	[ "$(wc -c <"$out")" -eq "$size" ] || die "$escaped has another size than it should"
	chmod "$mode" -- "$out" && touch -d "$mtime" -- "$out"
done <"$tmp/files"
set -- "${links[@]}"
while [ $# -gt 0 ]; do
	[ ! -e "$2" ] && ln -sT -- "$1" "$2" && touch -hd "$3" -- "$2" || die "cannot make the link $2"
	shift 3
done
echo "restored $(awk 'END { print NR }' "$tmp/files") files to $to"
