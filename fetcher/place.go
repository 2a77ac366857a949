package fetcher

import (
	"cmp"
	"slices"
	"strings"
)

// Place is where objects may be fetched from: a bucket, and in it the keys that
// begin with Prefix. An empty prefix means the whole bucket; a prefix that is
// meant as a folder ends in a slash.
type Place struct {
	Bucket string
	Prefix string
}

func (p Place) holds(bucket, key string) bool {
	return bucket == p.Bucket && key != "" && strings.HasPrefix(key, p.Prefix) && !climbs(key)
}

// climbs reports whether a segment of the key is "." or "..". To S3 they mean
// nothing, but a server on a file system, or a proxy before one, may follow
// them out of the place.
func climbs(key string) bool {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// below is the part of the key that a move keeps: what follows the place's
// prefix or, should nothing follow it, the last segment.
func (p Place) below(key string) string {
	rest := strings.TrimLeft(strings.TrimPrefix(key, p.Prefix), "/")
	if rest == "" {
		return key[strings.LastIndexByte(key, '/')+1:]
	}
	return rest
}

// mostSpecificFirst is the order in which places are asked: of two that hold a
// key the one with the longer prefix says what is below it.
func mostSpecificFirst(places []Place) []Place {
	sorted := slices.Clone(places)
	slices.SortStableFunc(sorted, func(a, b Place) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	return sorted
}
