package lambdatest

import "syscall"

// dieWithParent has the kernel end the function when the test dies without its cleanup.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
