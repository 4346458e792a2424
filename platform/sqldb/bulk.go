package sqldb

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Bulk is a statement that writes or looks for any number of rows at once, with the same text for both databases.
// PostgreSQL gets an array for each column. SQLite reads the rows where they are (see bulkTable) when it writes; a query,
// which may run on a connection that only reads, gets one parameter with all rows as JSON: it parses that ten times as fast
// as it parses and binds a VALUES list of the same size.
type Bulk struct {
	columns []column
	extra   int
	text    map[Dialect]string
	// write is the text for SQLite's writing connection.
	write string
}

// column is one column of the rows. Its kind is text, bigint or bytea; where nullable, values may be nil.
type column struct {
	name, kind string
	nullable   bool
}

// NewBulk makes a statement of text, in which {rows} stands for the rows as a table to select from and {columns} for their
// names. The columns are given as "id text, amount bigint, hash bytea"; a question mark after a type says that values may
// be NULL. Other parameters come first: $1 up to $extra. It panics on a type that it does not know.
func NewBulk(columns string, text string, extra int) *Bulk {
	s := &Bulk{extra: extra, text: map[Dialect]string{}}
	var names, arrays, fields, taken []string
	for i, c := range strings.Split(columns, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(c), " ")
		kind, nullable := strings.CutSuffix(kind, "?")
		if kind != "text" && kind != "bigint" && kind != "bytea" {
			panic(fmt.Sprintf("sqldb: column %s has the unknown type %q", name, kind))
		}
		s.columns = append(s.columns, column{name, kind, nullable})
		names = append(names, name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", extra+i+1, kind))
		field := fmt.Sprintf("value->>%d", i)
		if kind == "bytea" {
			field = "unhex(" + field + ")"
		}
		fields = append(fields, field+" AS "+name)
		taken = append(taken, fmt.Sprintf("c%d AS %s", i, name))
	}
	if len(names) > maxBulkColumns {
		panic(fmt.Sprintf("sqldb: %d columns are more than %d", len(names), maxBulkColumns))
	}
	text = strings.ReplaceAll(text, "{columns}", strings.Join(names, ", "))
	s.text[Postgres] = strings.ReplaceAll(text, "{rows}",
		"(SELECT * FROM unnest("+strings.Join(arrays, ", ")+") AS r ("+strings.Join(names, ", ")+"))")
	s.text[SQLite] = strings.ReplaceAll(text, "{rows}",
		fmt.Sprintf("(SELECT %s FROM json_each($%d))", strings.Join(fields, ", "), extra+1))
	s.write = orFail(strings.ReplaceAll(text, "{rows}",
		fmt.Sprintf("(SELECT %s FROM temp.%s($%d))", strings.Join(taken, ", "), bulkTable, extra+1)))
	return s
}

// orFail has SQLite leave the rows that were written before one that violates a constraint: the transaction is rolled back
// then anyhow, and to undo the statement alone SQLite would copy every page before it changes it.
func orFail(text string) string {
	for _, verb := range []string{"INSERT ", "UPDATE "} {
		if strings.HasPrefix(text, verb) && !strings.Contains(text, "ON CONFLICT") {
			return verb + "OR FAIL " + strings.TrimPrefix(text, verb)
		}
	}
	return text
}

// BulkRows collects what one execution of a [Bulk] takes.
type BulkRows struct {
	bulk    *Bulk
	n       int
	columns []values
	extra   []any
}

// values are those of one column; only the slice of its kind is used.
type values struct {
	texts []string
	ints  []int64
	bytes [][]byte
	// null says which are NULL; nil when none is. Bytes that are nil are NULL too.
	null []bool
}

// Rows is an empty collection with room for some rows.
func (s *Bulk) Rows(capacity int) *BulkRows {
	r := &BulkRows{bulk: s, columns: make([]values, len(s.columns))}
	for i, c := range s.columns {
		switch c.kind {
		case "text":
			r.columns[i].texts = make([]string, 0, capacity)
		case "bigint":
			r.columns[i].ints = make([]int64, 0, capacity)
		default:
			r.columns[i].bytes = make([][]byte, 0, capacity)
		}
	}
	return r
}

// Len is how many rows there are.
func (r *BulkRows) Len() int { return r.n }

// With sets the parameters before the rows.
func (r *BulkRows) With(extra ...any) *BulkRows {
	r.extra = extra
	return r
}

// Add takes one value a column: string, int64, []byte or nil. It panics on any other, and on nil where no NULL may be.
func (r *BulkRows) Add(row ...any) {
	if len(row) != len(r.columns) {
		panic(fmt.Sprintf("sqldb: %d values for %d columns", len(row), len(r.columns)))
	}
	for i, v := range row {
		c := &r.columns[i]
		kind := r.bulk.columns[i].kind
		if v == nil {
			if !r.bulk.columns[i].nullable {
				panic("sqldb: NULL in column " + r.bulk.columns[i].name)
			}
			c.addNull(kind, r.n)
			continue
		}
		if c.null != nil {
			c.null = append(c.null, false)
		}
		switch kind {
		case "text":
			c.texts = append(c.texts, v.(string)) //nolint:forcetypeassert,errcheck // documented
		case "bigint":
			c.ints = append(c.ints, v.(int64)) //nolint:forcetypeassert,errcheck // documented
		default:
			c.bytes = append(c.bytes, v.([]byte)) //nolint:forcetypeassert,errcheck // documented
		}
	}
	r.n++
}

func (c *values) addNull(kind string, before int) {
	if c.null == nil {
		c.null = make([]bool, before, before+16)
	}
	c.null = append(c.null, true)
	switch kind {
	case "text":
		c.texts = append(c.texts, "")
	case "bigint":
		c.ints = append(c.ints, 0)
	default:
		c.bytes = append(c.bytes, nil)
	}
}

func (c *values) isNull(row int) bool { return len(c.null) > row && c.null[row] }

// Exec runs the statement and says how many rows it changed. Without rows it does nothing.
func (r *BulkRows) Exec(ctx context.Context, tx *Tx) (int64, error) {
	n, err := ExecAll(ctx, tx, r)
	if err != nil {
		return 0, err
	}
	return n[0], nil
}

// Query runs a statement that reads.
func (r *BulkRows) Query(ctx context.Context, q Queryer, d Dialect) (*sql.Rows, error) {
	args, err := r.args(d)
	if err != nil {
		return nil, err
	}
	return q.QueryContext(ctx, r.bulk.text[d], args...)
}

// ExecAll runs several statements one after the other and says how many rows each changed. In PostgreSQL they are sent
// together and cost one round trip. Those without rows are left out. The first that fails ends it; the transaction can only
// be rolled back then.
func ExecAll(ctx context.Context, tx *Tx, all ...*BulkRows) ([]int64, error) {
	if tx.db.pipeline {
		return pipeline(ctx, tx, all)
	}
	counts := make([]int64, len(all))
	for i, r := range all {
		if r.n == 0 {
			continue
		}
		res, err := r.exec(ctx, tx)
		if err != nil {
			return nil, err
		}
		if counts[i], err = res.RowsAffected(); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

func (r *BulkRows) exec(ctx context.Context, tx *Tx) (sql.Result, error) {
	if tx.db.dialect == SQLite {
		number, takeBack := handOver(r)
		defer takeBack()
		return tx.ExecContext(ctx, r.bulk.write, append(r.extra[:len(r.extra):len(r.extra)], number)...)
	}
	args, err := r.args(tx.db.dialect)
	if err != nil {
		return nil, err
	}
	return tx.ExecContext(ctx, r.bulk.text[tx.db.dialect], args...)
}

// args are the parameters for database/sql.
func (r *BulkRows) args(d Dialect) ([]any, error) {
	args := append(make([]any, 0, len(r.extra)+len(r.columns)), r.extra...)
	if d == SQLite {
		text, err := r.json()
		return append(args, text), err
	}
	for i := range r.columns {
		c := &r.columns[i]
		switch kind := r.bulk.columns[i].kind; {
		case kind == "bytea":
			args = append(args, c.bytes)
		case kind == "text" && c.null == nil:
			args = append(args, c.texts)
		case kind == "text":
			args = append(args, pointers(c.texts, c.null))
		case c.null == nil:
			args = append(args, c.ints)
		default:
			args = append(args, pointers(c.ints, c.null))
		}
	}
	return args, nil
}

func pointers[T any](list []T, null []bool) []*T {
	out := make([]*T, len(list))
	for i := range list {
		if !null[i] {
			out[i] = &list[i]
		}
	}
	return out
}

// json is [[…], …], bytes in hexadecimal.
func (r *BulkRows) json() (string, error) {
	b := make([]byte, 0, 24*r.n*len(r.columns)+2)
	b = append(b, '[')
	for row := range r.n {
		if row > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for i := range r.columns {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = r.columns[i].appendJSON(b, r.bulk.columns[i].kind, row); err != nil {
				return "", err
			}
		}
		b = append(b, ']')
	}
	return string(append(b, ']')), nil
}

func (c *values) appendJSON(b []byte, kind string, row int) ([]byte, error) {
	switch {
	case c.isNull(row) || kind == "bytea" && c.bytes[row] == nil:
		return append(b, "null"...), nil
	case kind == "text":
		return appendString(b, c.texts[row])
	case kind == "bigint":
		return strconv.AppendInt(b, c.ints[row], 10), nil
	}
	b = append(b, '"')
	b = hex.AppendEncode(b, c.bytes[row])
	return append(b, '"'), nil
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

// QueryRow runs a statement that reads one row of one value.
func (r *BulkRows) QueryRow(ctx context.Context, q Queryer, d Dialect, dest any) error {
	args, err := r.args(d)
	if err != nil {
		return err
	}
	return q.QueryRowContext(ctx, r.bulk.text[d], args...).Scan(dest)
}

// In is the text and the argument of "column IN (…)" for any number of ids: "column "+text, with the argument as $1.
func In(d Dialect, ids []string) (text string, arg any, err error) {
	if d == Postgres {
		return "= ANY ($1)", ids, nil
	}
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendString(b, id); err != nil {
			return "", nil, err
		}
	}
	return "IN (SELECT value FROM json_each($1))", string(append(b, ']')), nil
}
