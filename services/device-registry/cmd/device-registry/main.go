// Command device-registry runs the device-registry service alone.
package main

import (
	"github.com/armlet-pay/armlet/platform/run"
	deviceregistry "github.com/armlet-pay/armlet/services/device-registry"
)

func main() {
	run.Main(deviceregistry.Name, deviceregistry.DefaultConfig(), deviceregistry.New, deviceregistry.Migrations)
}
