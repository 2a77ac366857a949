# Recipient rules from docker-mailserver's postfix-virtual.cf:
#
#     awk -f recipients.awk docker-data/dms/config/postfix-virtual.cf > recipients
#
# A line there is an alias and its targets, commas or spaces between them. An
# alias of an alias is followed; homing itself maps an address once. What leads
# round in a circle, or elsewhere, stays as it is, and Dovecot refuses it.

/^[ \t]*(#|$)/ { next }

{
	alias = tolower($1)
	targets = tolower($0)
	sub(/^[ \t]*[^ \t]+[ \t]+/, "", targets)
	gsub(/[ \t,]+/, " ", targets)
	sub(/ $/, "", targets)
	if (!(alias in goes)) order[++n] = alias
	goes[alias] = (alias in goes) ? goes[alias] " " targets : targets
}

function follow(address, depth,    parts, count, i, result) {
	if (!(address in goes) || depth > 20) return address
	count = split(goes[address], parts, " ")
	for (i = 1; i <= count; i++)
		result = result (i > 1 ? " " : "") (parts[i] == address ? address : follow(parts[i], depth + 1))
	return result
}

END {
	# Catch-alls come last, for the first rule that matches wins.
	for (pass = 1; pass <= 2; pass++)
		for (i = 1; i <= n; i++)
			if ((order[i] ~ /^@/) == (pass == 2)) print order[i] "=" follow(order[i], 0)
}
