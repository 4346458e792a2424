//go:build !linux

package journey

import "syscall"

func diesWithParent() *syscall.SysProcAttr { return nil }
