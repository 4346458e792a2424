//go:build unix && !linux

package testkit

import "syscall"

// Without a parent-death signal the watchdog alone ends the server.
func childAttr(as *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Setpgid: true}
}
