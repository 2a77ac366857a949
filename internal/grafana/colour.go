package main

import "slices"

// What is well, and what is neither well nor ill. Every other result, one that
// is new too, gets a colour that warns.
var (
	wellResults    = []string{"ok", "accepted", "delivered", "recovered", "known", "200"}
	neutralResults = []string{"repeated", "ignored", "fallback", "retry", "canceled", "marked", "young", "old"}
)

// Grafana's names for colours.
var (
	wellColours    = []string{"green", "dark-green", "light-green"}
	neutralColours = []string{"blue", "light-blue", "dark-blue", "yellow", "light-yellow"}
	illColours     = []string{"red", "orange", "purple", "dark-red", "dark-orange", "dark-purple", "light-red", "light-orange", "light-purple",
		"semi-dark-red", "semi-dark-orange", "semi-dark-purple", "super-light-red", "super-light-orange", "super-light-purple", "dark-yellow", "semi-dark-yellow"}
)

// colours gives each result its own.
func colours(values []string) []override {
	all := []override{}
	next := map[string]int{}
	for _, value := range values {
		kind, palette := "ill", illColours
		switch {
		case slices.Contains(wellResults, value):
			kind, palette = "well", wellColours
		case slices.Contains(neutralResults, value):
			kind, palette = "neutral", neutralColours
		}
		colour := palette[next[kind]%len(palette)]
		next[kind]++
		all = append(all, override{
			Matcher:    options{"id": "byName", "options": value},
			Properties: []options{{"id": "color", "value": options{"mode": "fixed", "fixedColor": colour}}},
		})
	}
	return all
}
