package bulk

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

// The columns of a file. A file of refused rows has three more, which are not read, so that it can be mended and imported itself.
const (
	columnUID     = "uid"
	columnSuite   = "suite"
	columnEpoch   = "key_epoch"
	columnKey     = "public_key"
	labelPrefix   = "labels."
	columnLine    = "refused_line"
	columnReason  = "refused_reason"
	columnMessage = "refused_message"
)

// Format is how a file holds its rows.
type Format string

// The formats. CSV has a first line of column names: uid, and as wanted suite, key_epoch, public_key and labels.KEY. NDJSON has an
// object a line with the same names, and labels as an object.
const (
	CSV    Format = "csv"
	NDJSON Format = "ndjson"
)

// row is one row and the line on which it stood.
type row struct {
	message *devicesv1.ImportRow
	line    int
}

// Fault is a line that cannot be read as a row.
type Fault struct {
	Line   int
	Column int    // of a CSV file, from 1; 0 when it is the line as a whole
	Name   string // of the column or field; empty when it is the line as a whole
	What   string
}

// Error names the place and what is wrong there.
func (f *Fault) Error() string {
	text := fmt.Sprintf("line %d", f.Line)
	switch {
	case f.Column > 0 && f.Name != "":
		text += fmt.Sprintf(", column %d (%s)", f.Column, f.Name)
	case f.Column > 0:
		text += fmt.Sprintf(", column %d", f.Column)
	case f.Name != "":
		text += fmt.Sprintf(", field %s", f.Name)
	}
	return text + ": " + f.What
}

// source reads the rows of a file one by one.
type source struct {
	lines  *lineReader
	format Format
	head   []string // of CSV
}

// newSource finds the format of a file and reads the first line of CSV.
func newSource(r io.Reader) (*source, error) {
	s := &source{lines: newLineReader(r), format: CSV}
	start, err := s.lines.in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	start = bytes.TrimSpace(bytes.TrimPrefix(start, []byte(byteOrderMark)))
	switch {
	case bytes.HasPrefix(start, []byte("{")):
		s.format = NDJSON
		return s, nil
	case bytes.HasPrefix(start, []byte("[")):
		return nil, &Fault{Line: 1, What: "a JSON array begins here; write one object a line instead"}
	}
	return s, s.readHead()
}

func (s *source) readHead() error {
	line, err := s.lines.next()
	for err == nil && len(bytes.TrimSpace(line)) == 0 {
		line, err = s.lines.next()
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty; the first line of CSV names the columns, uid among them")
	}
	if err != nil {
		return s.lineFault(err)
	}
	names, err := splitCSV(string(line))
	if err != nil || !utf8.Valid(line) {
		return &Fault{Line: s.lines.number, Column: len(names) + 1, What: either(err, "is not UTF-8")}
	}
	for i, name := range names {
		if !knownColumn(name) {
			return &Fault{Line: s.lines.number, Column: i + 1, What: fmt.Sprintf(
				"%q is not the name of a column; the names are uid, suite, key_epoch, public_key and labels.KEY, separated by commas", name)}
		}
		if slices.Contains(names[:i], name) {
			return &Fault{Line: s.lines.number, Column: i + 1, What: fmt.Sprintf("there are two columns %s", name)}
		}
	}
	if s.head = names; !slices.Contains(names, columnUID) {
		return &Fault{Line: s.lines.number, What: "names no column uid"}
	}
	return nil
}

func either(err error, text string) string {
	if err != nil {
		return err.Error()
	}
	return text
}

func knownColumn(name string) bool {
	switch name {
	case columnUID, columnSuite, columnEpoch, columnKey, columnLine, columnReason, columnMessage:
		return true
	}
	return strings.HasPrefix(name, labelPrefix) && len(name) > len(labelPrefix)
}

// next is the next row; io.EOF after the last. After a *Fault it goes on behind that line. Empty lines are no rows.
func (s *source) next() (row, error) {
	for {
		line, err := s.lines.next()
		if err != nil {
			return row{}, s.lineFault(err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return row{}, &Fault{Line: s.lines.number, What: "is not UTF-8"}
		}
		m, fault := s.read(line)
		if fault != nil {
			fault.Line = s.lines.number
			return row{}, fault
		}
		return row{m, s.lines.number}, nil
	}
}

func (s *source) lineFault(err error) error {
	if errors.Is(err, errLongLine) {
		return &Fault{Line: s.lines.number, What: err.Error()}
	}
	return err
}

func (s *source) read(line []byte) (*devicesv1.ImportRow, *Fault) {
	m := &devicesv1.ImportRow{}
	var fault *Fault
	if s.format == NDJSON {
		fault = readObject(m, line)
	} else {
		fault = s.readRecord(m, string(line))
	}
	if fault == nil {
		fault = countable(m)
	}
	return m, fault
}

func (s *source) readRecord(m *devicesv1.ImportRow, line string) *Fault {
	values, err := splitCSV(line)
	switch {
	case err != nil:
		return &Fault{Column: len(values) + 1, What: err.Error()}
	case len(values) != len(s.head):
		return &Fault{What: fmt.Sprintf("has %d values where the first line names %d columns", len(values), len(s.head))}
	}
	for i, value := range values {
		if err := setColumn(m, s.head[i], value); err != nil {
			return &Fault{Column: i + 1, Name: s.head[i], What: err.Error()}
		}
	}
	return nil
}

func setColumn(m *devicesv1.ImportRow, column, value string) (err error) {
	switch {
	case column == columnUID:
		m.Uid = value
	case value == "":
	case column == columnSuite:
		m.Suite, err = parseSuite(value)
	case column == columnEpoch:
		m.KeyEpoch, err = parseEpoch(value)
	case column == columnKey:
		m.PublicKey, err = parseKey(value)
	case strings.HasPrefix(column, labelPrefix):
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[strings.TrimPrefix(column, labelPrefix)] = value
	}
	return err
}

// text is a JSON string, or a number as it is written.
type text string

// UnmarshalJSON takes "3" for 3.
func (v *text) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && (raw[0] == '"' || raw[0] == 'n') {
		return json.Unmarshal(raw, (*string)(v))
	}
	*v = text(raw)
	return nil
}

func readObject(m *devicesv1.ImportRow, line []byte) *Fault {
	var in struct {
		UID     string            `json:"uid"`
		Suite   text              `json:"suite"`
		Epoch   text              `json:"key_epoch"`
		Key     string            `json:"public_key"`
		Labels  map[string]string `json:"labels"`
		Line    json.RawMessage   `json:"refused_line"`
		Reason  json.RawMessage   `json:"refused_reason"`
		Message json.RawMessage   `json:"refused_message"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return jsonFault(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &Fault{What: "holds more than one object"}
	}
	m.Uid, m.Labels = in.UID, in.Labels
	for _, f := range []struct{ name, value string }{
		{columnSuite, string(in.Suite)}, {columnEpoch, string(in.Epoch)}, {columnKey, in.Key},
	} {
		if err := setColumn(m, f.name, f.value); err != nil {
			return &Fault{Name: f.name, What: err.Error()}
		}
	}
	return nil
}

func jsonFault(err error) *Fault {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &Fault{What: fmt.Sprintf("is no JSON at byte %d: %v", syntax.Offset, err)}
	case errors.As(err, &kind):
		return &Fault{Name: kind.Field, What: fmt.Sprintf("a %s cannot stand here", kind.Value)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Fault{What: "the object does not end on its line"}
	}
	return &Fault{What: strings.TrimPrefix(err.Error(), "json: ")}
}

func parseSuite(value string) (devicesv1.Suite, error) {
	name := strings.TrimPrefix(strings.ToUpper(value), "SUITE_")
	if n, ok := devicesv1.Suite_value["SUITE_"+name]; ok {
		return devicesv1.Suite(n), nil
	}
	n, err := strconv.ParseUint(value, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is neither the number nor the name of a suite, such as 3 or ECDSA_P256", value)
	}
	return devicesv1.Suite(n), nil
}

func parseEpoch(value string) (uint32, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number up to 65535", value)
	}
	return uint32(n), nil
}

// parseKey reads hexadecimal or base64. No key of a suite, 32 or 65 bytes, can be read as both.
func parseKey(value string) ([]byte, error) {
	if key, err := hex.DecodeString(value); err == nil {
		return key, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if key, err := encoding.Strict().DecodeString(value); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%q is neither hexadecimal nor base64", value)
}

// countable refuses what the digest of an import cannot count and a registry therefore does not take.
func countable(m *devicesv1.ImportRow) *Fault {
	const long = "is longer than 255 bytes"
	switch {
	case len(m.GetUid()) > math.MaxUint8:
		return &Fault{Name: columnUID, What: long}
	case len(m.GetPublicKey()) > math.MaxUint8:
		return &Fault{Name: columnKey, What: long}
	case len(m.GetLabels()) > math.MaxUint8:
		return &Fault{Name: "labels", What: "there are more than 255"}
	}
	for key, value := range m.GetLabels() {
		if len(key) > math.MaxUint8 || len(value) > math.MaxUint8 {
			return &Fault{Name: labelPrefix + key, What: long}
		}
	}
	return nil
}

// appendRow encodes a countable row for the digest, as ImportHeader describes.
func appendRow(b []byte, r *devicesv1.ImportRow) []byte {
	b = appendText(b, r.GetUid())
	b = append(b, byte(r.GetSuite()))
	b = binary.BigEndian.AppendUint16(b, uint16(r.GetKeyEpoch()))
	b = appendText(b, string(r.GetPublicKey()))
	b = append(b, byte(len(r.GetLabels())))
	for _, key := range slices.Sorted(maps.Keys(r.GetLabels())) {
		b = appendText(appendText(b, key), r.GetLabels()[key])
	}
	return b
}

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }
