package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// column is one column of the rows that a statement takes. Its type is text, bigint or bytea; with a question mark after
// it values may be NULL, which is nil in Go.
type column struct{ name, kind string }

// statement writes any number of rows at once. PostgreSQL gets an array for each column. SQLite gets one parameter with
// all rows as JSON: it parses that ten times as fast as it parses and binds a VALUES list of the same size.
type statement struct {
	columns []column
	text    map[sqldb.Dialect]string
}

// newStatement makes a statement of text, in which {rows} stands for the rows as a table to select from and {columns} for
// their names. Parameters of its own come after extra: $1 up to $extra are them.
func newStatement(columns string, text string, extra int) *statement {
	s := &statement{text: map[sqldb.Dialect]string{}}
	var names, arrays, fields []string
	for i, c := range strings.Split(columns, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(c), " ")
		s.columns = append(s.columns, column{name, kind})
		names = append(names, name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", extra+i+1, strings.TrimSuffix(kind, "?")))
		field := fmt.Sprintf("value->>%d", i)
		if strings.HasPrefix(kind, "bytea") {
			field = "unhex(" + field + ")"
		}
		fields = append(fields, field+" AS "+name)
	}
	text = strings.ReplaceAll(text, "{columns}", strings.Join(names, ", "))
	s.text[sqldb.Postgres] = strings.ReplaceAll(text, "{rows}",
		"(SELECT * FROM unnest("+strings.Join(arrays, ", ")+") AS r ("+strings.Join(names, ", ")+"))")
	s.text[sqldb.SQLite] = strings.ReplaceAll(text, "{rows}",
		fmt.Sprintf("(SELECT %s FROM json_each($%d))", strings.Join(fields, ", "), extra+1))
	return s
}

// rows collects what one statement will write.
type rows struct {
	*statement
	n      int
	values []any // row by row
}

func (s *statement) rows(capacity int) *rows {
	return &rows{statement: s, values: make([]any, 0, capacity*len(s.columns))}
}

// add takes one value a column: string, int64, []byte or nil.
func (r *rows) add(values ...any) {
	r.n++
	r.values = append(r.values, values...)
}

// exec runs the statement and says how many rows it changed. Without rows it does nothing.
func (r *rows) exec(ctx context.Context, tx *sqldb.Tx, extra ...any) (int64, error) {
	if r.n == 0 {
		return 0, nil
	}
	args, err := r.args(tx.Dialect(), extra)
	if err != nil {
		return 0, err
	}
	res, err := tx.ExecContext(ctx, r.text[tx.Dialect()], args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query runs a statement that reads.
func (r *rows) query(ctx context.Context, q sqldb.Queryer, d sqldb.Dialect) (*sql.Rows, error) {
	args, err := r.args(d, nil)
	if err != nil {
		return nil, err
	}
	return q.QueryContext(ctx, r.text[d], args...)
}

func (r *rows) args(d sqldb.Dialect, extra []any) ([]any, error) {
	if d == sqldb.SQLite {
		text, err := r.json()
		return append(slices.Clone(extra), text), err
	}
	args := slices.Clone(extra)
	for i, c := range r.columns {
		switch c.kind {
		case "text":
			args = append(args, array[string](r, i))
		case "text?":
			args = append(args, nullable[string](r, i))
		case "bigint":
			args = append(args, array[int64](r, i))
		case "bigint?":
			args = append(args, nullable[int64](r, i))
		case "bytea", "bytea?":
			args = append(args, array[[]byte](r, i))
		default:
			return nil, fmt.Errorf("column %s has the unknown type %q", c.name, c.kind)
		}
	}
	return args, nil
}

// array is one column; NULLs become the zero value, which for bytes is NULL too.
func array[T any](r *rows, i int) []T {
	out := make([]T, r.n)
	for row := range out {
		out[row], _ = r.values[row*len(r.columns)+i].(T)
	}
	return out
}

func nullable[T any](r *rows, i int) []*T {
	out := make([]*T, r.n)
	for row := range out {
		if v, ok := r.values[row*len(r.columns)+i].(T); ok {
			out[row] = &v
		}
	}
	return out
}

// json is [[…], …], bytes in hexadecimal.
func (r *rows) json() (string, error) {
	b := make([]byte, 0, 32*len(r.values))
	b = append(b, '[')
	for i, v := range r.values {
		switch i % len(r.columns) {
		case 0:
			if i > 0 {
				b = append(b, ']', ',')
			}
			b = append(b, '[')
		default:
			b = append(b, ',')
		}
		switch v := v.(type) {
		case nil:
			b = append(b, "null"...)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case string:
			var err error
			if b, err = appendString(b, v); err != nil {
				return "", err
			}
		case []byte:
			if v == nil {
				b = append(b, "null"...)
				continue
			}
			b = append(b, '"')
			b = hex.AppendEncode(b, v)
			b = append(b, '"')
		default:
			return "", fmt.Errorf("a row cannot hold a %T", v)
		}
	}
	if r.n > 0 {
		b = append(b, ']')
	}
	return string(append(b, ']')), nil
}

// appendString quotes as JSON does; nearly all strings are ids that need no escapes.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			quoted, err := json.Marshal(s)
			return append(b, quoted...), err
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), nil
}
