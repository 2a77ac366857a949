//go:build !linux

package neighbour

import "syscall"

// DieWithParent does nothing where the kernel offers nothing for it.
func DieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
