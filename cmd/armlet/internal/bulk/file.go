// Package bulk brings the devices of a file into a listed lot: it reads CSV and NDJSON, streams the rows to a registry, takes the
// stream up again wherever it breaks, and keeps the rows that were refused.
//
// A file is read twice: once to learn how many rows it has and their digest, which name the import, and once to send them. Only
// a few chunks of it are in memory at a time.
package bulk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFaults is how many lines that cannot be read are told before the rest is only counted.
const maxFaults = 20

// File is a file of devices that was read once and can be read again.
type File struct {
	Name   string // as people know it
	Format Format
	Rows   uint64
	Digest [sha256.Size]byte // of all rows, as ImportHeader describes

	head []string // of CSV
	data *os.File
	size int64
}

// Faults are the lines of a file that cannot be read. Nothing of such a file is sent.
type Faults struct {
	File  string
	First []*Fault // at most maxFaults
	Count int
}

// Error lists them.
func (f *Faults) Error() string {
	lines := []string{fmt.Sprintf("%s: %d lines cannot be read and nothing was sent; mend them first", f.File, f.Count)}
	if f.Count == 1 {
		lines[0] = f.File + ": a line cannot be read and nothing was sent; mend it first"
	}
	for _, fault := range f.First {
		lines = append(lines, "  "+fault.Error())
	}
	if rest := f.Count - len(f.First); rest > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", rest))
	}
	return strings.Join(lines, "\n")
}

// Open reads the whole file, or standard input when its name is "-". What is no plain file is copied into a temporary one, since
// it has to be read twice. It fails with *Faults where lines cannot be read.
func Open(name string, stdin io.Reader) (_ *File, err error) {
	f := &File{Name: name}
	if name == "-" {
		f.Name = "standard input"
		err = f.spool(stdin)
	} else {
		err = f.open(name)
	}
	if err == nil {
		err = f.read()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *File) open(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	info, err := in.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a folder; name a file", name)
	case info.Mode().IsRegular():
		f.data, f.size = in, info.Size()
		return nil
	default:
		err = f.spool(in)
	}
	return errors.Join(err, in.Close())
}

// spool copies what can be read once only. The copy has no name, so that nothing is left of it however the program ends.
func (f *File) spool(in io.Reader) (err error) {
	if f.data, err = os.CreateTemp("", "armlet-import-*"); err != nil {
		return err
	}
	if err := os.Remove(f.data.Name()); err != nil {
		return err
	}
	f.size, err = io.Copy(f.data, in)
	return err
}

// Close lets go of the file.
func (f *File) Close() error {
	if f.data == nil {
		return nil
	}
	return f.data.Close()
}

// source reads the rows from the first on.
func (f *File) source() (*source, error) { return newSource(io.NewSectionReader(f.data, 0, f.size)) }

func (f *File) read() error {
	s, err := f.source()
	faults := &Faults{File: f.Name}
	if faults.add(err) {
		return faults
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	f.Format, f.head = s.format, s.head
	h := sha256.New()
	var encoded []byte
	for {
		r, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if faults.add(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		encoded = appendRow(encoded[:0], r.message)
		h.Write(encoded)
		f.Rows++
	}
	switch {
	case faults.Count > 0:
		return faults
	case f.Rows == 0:
		return fmt.Errorf("%s: there is no row in it", f.Name)
	}
	h.Sum(f.Digest[:0])
	return nil
}

// add notes a line that cannot be read, and reports whether err is one.
func (f *Faults) add(err error) bool {
	var fault *Fault
	if !errors.As(err, &fault) {
		return false
	}
	if f.Count++; len(f.First) < maxFaults {
		f.First = append(f.First, fault)
	}
	return true
}

// ImportID names the import of the file's rows into the lot: the same rows, lot and mode have the same, so that the same command
// goes on where an earlier one was interrupted, on whatever machine.
func (f *File) ImportID(lot, mode string) string {
	h := sha256.New()
	h.Write(f.Digest[:])
	_, _ = io.WriteString(h, lot+"\x00"+mode)
	return "file-" + hex.EncodeToString(h.Sum(nil)[:16])
}
