//go:build !linux

package system

import (
	"errors"
	"time"
)

func processTime(int) (time.Duration, error) {
	return 0, errors.New("only read on Linux")
}
