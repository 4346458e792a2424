package payments

import (
	"io/fs"

	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// Migrations are those of the service's database, for the program's command migrate.
func Migrations() (fs.FS, error) { return store.Migrations(), nil }
