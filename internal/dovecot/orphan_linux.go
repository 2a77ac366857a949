package dovecot

import "syscall"

// dieWithParent has the kernel stop Dovecot when the test dies without its
// cleanup: by a panic, a timeout or a signal.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
