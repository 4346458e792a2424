// Command notify runs the service notify as a process of its own.
package main

import (
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/services/notify"
)

func main() { run.Main(notify.Name, notify.DefaultConfig(), notify.New, notify.Migrations) }
