// Command dashboards writes Grafana's dashboards from one description of what is shown, so that all look and count alike:
//
//	go run ./dashboards ../deploy/grafana/dashboards
//
// A test of the module test holds their expressions against deploy/metrics.yaml.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards FOLDER")
		os.Exit(2)
	}
	for name, d := range all() {
		text, err := render(d)
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], name+".json"), text, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "dashboards:", err)
			os.Exit(1)
		}
	}
}

// all are the dashboards by the names of their files.
func all() map[string]dashboard {
	return map[string]dashboard{
		"taps": taps(), "ledger": ledger(), "fabric": fabric(),
		"device-registry": registry(), "auth": authority(), "payments": paying(), "notify": notifying(),
	}
}

func render(d dashboard) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(d)
	return out.Bytes(), err
}
