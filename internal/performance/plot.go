package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The plot's measures, in its own units.
const (
	plotWidth  = 880
	labelWidth = 330
	rightEdge  = 70 // for the numbers
	lineHeight = 18
	topEdge    = 58
)

// style has the colours for light and dark; shapes tell the same without them.
const style = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 } .small { fill: #59636e; font-size: 11px } .number { text-anchor: end; font-variant-numeric: tabular-nums }
.page { fill: #ffffff } .grid { stroke: #d1d9e0 } .one { stroke: #59636e; stroke-width: 1.5 }
.met { stroke: #0550ae; fill: #0550ae } .missed { stroke: #bc4c00; fill: #ffffff } .free { stroke: #59636e; fill: #59636e }
.goal { fill: none; stroke: #1f2328; stroke-width: 1.5 } .spread { stroke-width: 3; stroke-linecap: round; stroke-opacity: .45 } .dot { stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 } .page { fill: #0d1117 } .grid { stroke: #3d444d } .one { stroke: #9198a1 }
.met { stroke: #4493f8; fill: #4493f8 } .missed { stroke: #f0883e; fill: #0d1117 } .free { stroke: #9198a1; fill: #9198a1 } .goal { stroke: #f0f6fc }
}
</style>
`

// scale is the logarithmic axis that all ratios share.
type scale struct{ least, most float64 }

func (s scale) x(value float64) float64 {
	const width = plotWidth - labelWidth - rightEdge
	return labelWidth + width*math.Log(value/s.least)/math.Log(s.most/s.least)
}

// plot draws every ratio of the tables as SVG: a dot at the median, a bar over
// the middle half, and a bracket where the goal is, open to the side that meets it.
func plot(tables []table) string {
	var body strings.Builder
	axis, y := fit(tables), topEdge
	for _, t := range tables {
		rows := ratios(t)
		if len(rows) == 0 {
			continue
		}
		y += lineHeight
		fmt.Fprintf(&body, "<text class=\"head\" x=\"8\" y=\"%d\">%s</text>\n", y, html.EscapeString(t.title))
		for _, r := range rows {
			y += lineHeight
			body.WriteString(axis.draw(r, y))
		}
		y += lineHeight / 2
	}
	height := y + lineHeight
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", plotWidth, height, plotWidth, height)
	b.WriteString("<title>homing's ratios, with quartiles and goals</title>\n" + style)
	fmt.Fprintf(&b, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", plotWidth, height)
	b.WriteString(axis.grid(height) + body.String() + "</svg>\n")
	return b.String()
}

func ratios(t table) []row {
	if t.unit != "ratio" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(t.rows), func(r row) bool { return r.median <= 0 }) // or there is none
}

// fit finds the powers of two that hold everything.
func fit(tables []table) scale {
	s := scale{0.5, 2}
	for _, t := range tables {
		for _, r := range ratios(t) {
			low, high := r.median, r.median
			if r.spread && r.q1 > 0 {
				low, high = r.q1, r.q3
			}
			if r.judged {
				low, high = min(low, r.goal.value), max(high, r.goal.value)
			}
			s.least = min(s.least, math.Exp2(math.Floor(math.Log2(low))))
			s.most = max(s.most, math.Exp2(math.Ceil(math.Log2(high))))
		}
	}
	return s
}

// grid draws the axis above, and a line at each power of two.
func (s scale) grid(height int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<text class=\"small\" x=\"8\" y=\"20\">dot: the median (blue: its goal is met, a ring: it is missed, grey: there is none); bar: the middle half; bracket: the goal, open to the side that meets it</text>\n")
	for value := s.least; value <= s.most; value *= 2 {
		class := "grid"
		if value == 1 {
			class = "one"
		}
		fmt.Fprintf(&b, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", class, s.x(value), s.x(value), topEdge-4, height-lineHeight/2)
		fmt.Fprintf(&b, "<text class=\"small\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%g</text>\n", s.x(value), topEdge-10, value)
	}
	return b.String()
}

func (s scale) draw(r row, y int) string {
	class := "free"
	if r.judged {
		class = map[bool]string{true: "met", false: "missed"}[r.goal.met(r.median)]
	}
	var b strings.Builder
	_, name, isSub := strings.Cut(r.name, "/")
	if !isSub {
		name = r.name
	}
	fmt.Fprintf(&b, "<text x=\"20\" y=\"%d\">%s</text>", y, html.EscapeString(name))
	middle := y - 4
	if r.spread && r.q1 > 0 {
		fmt.Fprintf(&b, "<line class=\"%s spread\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", class, s.x(r.q1), s.x(r.q3), middle, middle)
	}
	if r.judged {
		serif := -4
		if r.goal.least {
			serif = 4
		}
		fmt.Fprintf(&b, "<path class=\"goal\" d=\"M%.1f %d h%d v12 h%d\"/>", s.x(r.goal.value)+float64(serif), middle-6, -serif, serif)
	}
	fmt.Fprintf(&b, "<circle class=\"%s dot\" cx=\"%.1f\" cy=\"%d\" r=\"3.5\"/>", class, s.x(r.median), middle)
	fmt.Fprintf(&b, "<text class=\"number\" x=\"%d\" y=\"%d\">%s</text>\n", plotWidth-12, y, number(r.median))
	return b.String()
}
