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

# follow adds to found where an address leads. Each is followed once, as Postfix
# does: people who forward to one another would else never be done.
function follow(address,    parts, count, i) {
	if (address in seen) return
	seen[address]
	count = (address in goes) ? split(goes[address], parts, " ") : 0
	if (count == 0) found = found " " address
	for (i = 1; i <= count; i++) {
		if (parts[i] == address) found = found " " address
		else follow(parts[i])
	}
}

function all(address) {
	split("", seen)
	found = ""
	follow(address)
	return found == "" ? address : substr(found, 2)
}

END {
	# Catch-alls come last, for the first rule that matches wins.
	for (pass = 1; pass <= 2; pass++)
		for (i = 1; i <= n; i++)
			if ((order[i] ~ /^@/) == (pass == 2)) print order[i] "=" all(order[i])
}
