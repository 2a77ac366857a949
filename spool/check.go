package spool

// EnoughFree is how many bytes must stay free on the spool's disk unless
// Options.MinFree says otherwise.
const EnoughFree = 256 << 20

// Free returns how many bytes an unprivileged user may still write to the disk
// that holds a directory.
func Free(dir string) (int64, error) { return freeBytes(dir) }
