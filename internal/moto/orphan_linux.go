package moto

import "syscall"

// dieWithParent has the kernel stop moto when the test dies without its cleanup.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
