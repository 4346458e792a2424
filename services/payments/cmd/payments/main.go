// Command payments runs the payments service alone.
package main

import (
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/services/payments"
)

func main() { run.Main(payments.Name, payments.DefaultConfig(), payments.New, payments.Migrations) }
