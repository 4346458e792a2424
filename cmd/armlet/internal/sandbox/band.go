package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

const bandFile = "band.json"

// Band is the virtual band kept in the folder, or the first one of the lot, newly
// made. Its flash is the file band.json, which holds the device key (mode 0600).
func (s *Sandbox) Band(ctx context.Context, lot *devicesv1.Lot) (*virtual.Band, error) {
	file := filepath.Join(s.Dir, bandFile)
	band, err := loadBand(file)
	if errors.Is(err, fs.ErrNotExist) {
		if band, err = s.MakeBand(ctx, lot, 0); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	band.Save = func(state virtual.State) error { return saveBand(file, state) }
	band.Wear()
	return band, nil
}

func loadBand(file string) (*virtual.Band, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var state virtual.State
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("%s is damaged; remove it and claim a new band: %w", file, err)
	}
	return virtual.NewBand(state)
}

// saveBand replaces the file in one step, as flash with a commit mark does: a
// kill in the middle leaves the old state or the new one.
func saveBand(file string, state virtual.State) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	next := file + ".next"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, werr := f.Write(text)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, file)
}
