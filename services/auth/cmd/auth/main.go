// Command auth runs the auth service alone.
package main

import (
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/services/auth"
)

func main() { run.Main(auth.Name, auth.DefaultConfig(), auth.New, auth.Migrations) }
