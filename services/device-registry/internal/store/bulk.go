package store

import (
	"context"
	"strings"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// valuesAtOnce is how many rows one statement brings to SQLite: more gain nothing and would make it large.
const valuesAtOnce = 250

// deviceColumns are the columns of a device that was imported and that nothing has happened to yet.
var deviceColumns = []string{
	"partner", "model_id", "lot_no", "created_at", "state", "auth_epoch", "generation", "audit_seq", "uid", "suite", "key_epoch", "public_key",
	"audit_hash", "labels",
}

// bulkRow are the values of deviceColumns.
func bulkRow(d *device.Device) ([]any, error) {
	var key any
	if len(d.Credentials) > 0 {
		key = d.Credentials[0].Key
	}
	labels, err := labelColumn(d.Labels)
	return []any{
		d.Partner, d.ModelID, int64(d.LotNo), micros(d.CreatedAt), int32(d.State), d.AuthEpoch, d.Generation, d.Head.Sequence,
		uidText(d.UID), int32(d.Suite), int32(d.KeyEpoch), key, d.Head.Hash[:], labels,
	}, err
}

// insertDevices adds rows, of which none may be there.
func insertDevices(ctx context.Context, tx *sqldb.Tx, rows []device.Device) error {
	if len(rows) == 0 {
		return nil
	}
	if tx.Dialect() == sqldb.Postgres {
		return tx.Copy(ctx, "devices", deviceColumns, len(rows), func(i int) ([]any, error) { return bulkRow(&rows[i]) })
	}
	args := make([]any, 0, len(deviceColumns)*min(valuesAtOnce, len(rows)))
	for len(rows) > 0 {
		batch := rows[:min(valuesAtOnce, len(rows))]
		rows = rows[len(batch):]
		args = args[:0]
		for i := range batch {
			row, err := bulkRow(&batch[i])
			if err != nil {
				return err
			}
			args = append(args, row...)
		}
		query := insertDevicesFull
		if len(batch) < valuesAtOnce {
			query = insertValues("devices", deviceColumns, len(batch))
		}
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

var insertDevicesFull = insertValues("devices", deviceColumns, valuesAtOnce)

// insertValues takes n rows as values. Its parameters have no numbers: SQLite looks each numbered one up among all before it.
func insertValues(table string, columns []string, n int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + strings.TrimSuffix(strings.Repeat(row+",", n), ",")
}

var labelColumns = []string{"uid", "key", "value"}

// insertLabels makes the labels of new rows findable.
func insertLabels(ctx context.Context, tx *sqldb.Tx, rows []device.Device) error {
	var labels [][]any
	for i := range rows {
		for key, value := range rows[i].Labels {
			labels = append(labels, []any{uidText(rows[i].UID), key, value})
		}
	}
	if len(labels) > 0 && tx.Dialect() == sqldb.Postgres {
		return tx.Copy(ctx, "device_labels", labelColumns, len(labels), func(i int) ([]any, error) { return labels[i], nil })
	}
	for len(labels) > 0 {
		batch := labels[:min(valuesAtOnce, len(labels))]
		labels = labels[len(batch):]
		var args []any
		for _, l := range batch {
			args = append(args, l...)
		}
		if _, err := tx.ExecContext(ctx, insertValues("device_labels", labelColumns, len(batch)), args...); err != nil {
			return err
		}
	}
	return nil
}
