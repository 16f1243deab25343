# awk -f limits.awk LIMITS BENCHMARK-OUTPUT: holds benchmark results against limits.
#
# A line of LIMITS: package, benchmark (a regular expression), unit, and the largest value
# allowed: a number, or FACTOR*BENCHMARK+NUMBER against another benchmark of the package
# in the same run. A limit that met no result fails: a renamed benchmark must not go
# unwatched.
FNR == NR {
	if ($0 !~ /^#/ && NF) {
		n++
		pkg[n] = $1; sub(/^\.\//, "", pkg[n]); sub(/\/$/, "", pkg[n])
		bench[n] = $2; unit[n] = $3; max[n] = $4
	}
	next
}
$1 == "pkg:" { at = $2; next }
/^Benchmark/ {
	name = $1
	sub(/-[0-9]+$/, "", name)
	results++
	in_pkg[results] = at; called[results] = name
	for (f = 3; f < NF; f += 2) value[results, $(f + 1)] = $f
	for (f = 3; f < NF; f += 2) measured[at, name, $(f + 1)] = $f
}
function ends(s, tail) { return substr(s, length(s) - length(tail) + 1) == tail }
function limit(i, r,   parts, plus) {
	if (max[i] !~ /\*/) return max[i] + 0
	split(max[i], parts, /[*+]/)
	if (!((in_pkg[r], parts[2], unit[i]) in measured)) return -1
	return parts[1] * measured[in_pkg[r], parts[2], unit[i]] + parts[3]
}
END {
	for (i = 1; i <= n; i++) {
		met = 0
		for (r = 1; r <= results; r++) {
			if (!ends(in_pkg[r], pkg[i]) || called[r] !~ "^" bench[i] "$" || !((r, unit[i]) in value)) continue
			met++
			most = limit(i, r)
			over = value[r, unit[i]] + 0 > most
			printf "%s %s %s: %s of at most %s %s\n", over ? "OVER" : "within", pkg[i], called[r], value[r, unit[i]], most, unit[i]
			bad += over
		}
		if (!met) { printf "NO RESULT %s %s %s\n", pkg[i], bench[i], unit[i]; bad++ }
	}
	exit bad > 0
}
