package neighbour

import "syscall"

// DieWithParent has the kernel send a process this signal when the test that
// started it dies without its cleanup: by a panic, a timeout or a signal.
// Elsewhere than on Linux it does nothing.
func DieWithParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
