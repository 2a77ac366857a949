package main

import (
	"fmt"
	"math"
	"strings"
)

// fill replaces what stands between the page's marks, <!-- name --> and
// <!-- end -->: the machine, and a table for each section.
func fill(page string, all raw, tables []table) (string, error) {
	page, err := between(page, "machine", describe(all.facts, tables))
	if err != nil {
		return "", err
	}
	for _, t := range tables {
		if page, err = between(page, t.benchmark, t.markdown()); err != nil {
			return "", err
		}
	}
	return page, nil
}

func between(page, name, text string) (string, error) {
	const end = "<!-- end -->"
	mark := "<!-- " + name + " -->\n"
	before, rest, ok := strings.Cut(page, mark)
	if !ok {
		return "", fmt.Errorf("the mark %q is not there", strings.TrimSpace(mark))
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("after %q there is no %s", strings.TrimSpace(mark), end)
	}
	return before + mark + text + end + after, nil
}

// describe says what was measured on, when and how, and which goals were missed.
func describe(facts map[string]string, tables []table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, commit %s, `%s`: at least %d repetitions of each. %s, %s; %s. Load before it began: %s.\n\n",
		facts["date"], facts["commit"], facts["command"], fewest(tables), facts["cpu"], facts["machine"], facts["software"], facts["load"])
	goals, met := 0, 0
	var missed []string
	for _, t := range tables {
		for _, r := range t.rows {
			if !r.judged {
				continue
			}
			goals++
			if r.goal.met(r.median) {
				met++
				continue
			}
			missed = append(missed, fmt.Sprintf("- `%s`: %s, %s\n", r.name, number(r.median), r.wanted()))
		}
	}
	fmt.Fprintf(&b, "%d of %d goals are met", met, goals)
	if len(missed) > 0 {
		fmt.Fprintf(&b, "; these are not:\n\n%s", strings.Join(missed, ""))
	} else {
		b.WriteString(".\n")
	}
	return b.String()
}

// fewest is the least number of repetitions that a row has.
func fewest(tables []table) int {
	n := math.MaxInt
	for _, t := range tables {
		for _, r := range t.rows {
			n = min(n, r.repetitions)
		}
	}
	return n
}
