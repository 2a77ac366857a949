package notice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	maxShape = 300 // bytes of a whole description
	maxName  = 40  // bytes of one member's name in it
)

// Shape describes a payload for a log line without giving anything of it away:
// the names of its top-level members, sorted, with their JSON types. It is at
// most 300 bytes of printable ASCII.
func Shape(message string) string {
	raw := json.RawMessage(message)
	if !json.Valid(raw) {
		return fmt.Sprintf("not JSON, %d bytes", len(message))
	}
	var members map[string]json.RawMessage
	if typeName(raw) != "object" || json.Unmarshal(raw, &members) != nil {
		return typeName(raw)
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		part := printable(name) + ":" + typeName(members[name])
		if i > 0 {
			part = " " + part
		}
		if b.Len()+len(part)+len(" ...}") > maxShape {
			b.WriteString(" ...")
			break
		}
		b.WriteString(part)
	}
	b.WriteByte('}')
	return b.String()
}

// typeName returns the type of a valid JSON value.
func typeName(raw json.RawMessage) string {
	switch bytes.TrimLeft(raw, " \t\r\n")[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}

// printable makes a member's name fit for a log line: names are as untrusted as values.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("_.-", r) || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return r
		}
		return '?'
	}, name)
	return name[:min(len(name), maxName)]
}
