package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// reporter shows lines as they come.
type reporter interface {
	line(checkLine) error
	end(tried, failed int) error
}

// textReport is for people.
type textReport struct {
	w        io.Writer
	warnings int
}

func (r *textReport) line(l checkLine) error {
	verdict := "ok"
	switch {
	case !l.OK:
		verdict = "FAILED"
	case l.Warning:
		verdict = "warning"
		r.warnings++
	}
	text := l.Target
	if l.Detail != "" {
		text += ": " + l.Detail
	}
	if _, err := fmt.Fprintf(r.w, "%-7s %7.3fs  %-15s %s\n", verdict, l.Seconds, l.Name, text); err != nil || l.Mend == "" {
		return err
	}
	_, err := fmt.Fprintf(r.w, "%-18s%-15s %s\n", "", "-> mend", l.Mend)
	return err
}

// end says it in one sentence, unless the command's error does.
func (r *textReport) end(tried, failed int) error {
	if failed > 0 {
		return nil
	}
	_, err := fmt.Fprintf(r.w, "%d checks, none failed, %d with warnings\n", tried, r.warnings)
	return err
}

// jsonReport is for machines: one array.
type jsonReport struct {
	w   io.Writer
	all []checkLine
}

func (r *jsonReport) line(l checkLine) error {
	r.all = append(r.all, l)
	return nil
}

func (r *jsonReport) end(int, int) error {
	enc := json.NewEncoder(r.w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // "->" and <addresses> stay readable
	return enc.Encode(r.all)
}
