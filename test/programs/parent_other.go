//go:build !linux

package programs

import "syscall"

// DiesWithParent are the attributes of a process that the kernel kills when its parent ends, where it can.
func DiesWithParent() *syscall.SysProcAttr { return nil }
