package bulk

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// maxLine is how long a line may be, in bytes. The largest row that a registry takes is far below.
const maxLine = 128 << 10

const byteOrderMark = "\ufeff"

var errLongLine = errors.New("the line is longer than 128 KiB; has the file no line ends?")

// lineReader reads the lines of a file and counts them. Its memory is bounded whatever the file holds.
type lineReader struct {
	in     *bufio.Reader
	buf    []byte
	number int
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{in: bufio.NewReaderSize(r, 64<<10)} }

// next is the next line without its end, good until the call after. It is io.EOF after the last and errLongLine for a line that
// is too long, behind which it goes on.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long := false
	for {
		piece, err := l.in.ReadSlice('\n')
		if long = long || len(l.buf)+len(piece) > maxLine; !long {
			l.buf = append(l.buf, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && !long && len(l.buf) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		l.number++
		if long {
			return nil, errLongLine
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(l.buf, []byte("\n")), []byte("\r"))
		if l.number == 1 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		return line, nil
	}
}

var (
	errOpenQuote  = errors.New("a quoted value does not end on its line")
	errAfterQuote = errors.New("a quoted value is followed by something else than a comma")
	errBareQuote  = errors.New("a quote stands inside a value that does not begin with one")
)

// splitCSV splits a line into values (RFC 4180) without the space around them. Values do not span lines: none that a device has
// holds a line end, and so a quote that was forgotten spoils one line and not the rest of the file. With an error come the
// values before it.
func splitCSV(line string) (values []string, err error) {
	for {
		line = strings.TrimLeft(line, " \t")
		if !strings.HasPrefix(line, `"`) {
			value, rest, more := strings.Cut(line, ",")
			if strings.Contains(value, `"`) {
				return values, errBareQuote
			}
			values = append(values, strings.TrimRight(value, " \t"))
			if !more {
				return values, nil
			}
			line = rest
			continue
		}
		value, rest, err := unquote(line[1:])
		if err != nil {
			return values, err
		}
		rest = strings.TrimLeft(rest, " \t")
		if rest != "" && rest[0] != ',' {
			return values, errAfterQuote
		}
		if values = append(values, strings.TrimSpace(value)); rest == "" {
			return values, nil
		}
		line = rest[1:]
	}
}

// unquote reads a value up to its closing quote; a quote inside is written twice.
func unquote(text string) (value, rest string, err error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, `"`)
		if !ok {
			return "", "", errOpenQuote
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			return b.String(), after, nil
		}
		b.WriteByte('"')
		text = after[1:]
	}
}
