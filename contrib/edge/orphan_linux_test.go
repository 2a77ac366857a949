package edge_test

import "syscall"

// dieWithParent has the kernel kill a homing whose test died without its
// cleanup: by a panic or a timeout.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
