package bulk

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

// Journal is the file of refused rows and, until the import is through, a small one beside it that says how far the answers of the
// registry are written down. With both, a run that follows one that was killed tells every refused row exactly once: what
// was written of an answer that is not noted as complete is cut off and asked for again.
type Journal struct {
	Path string

	file *File
	out  *os.File
	note *os.File
	at   mark
}

// mark is how far the answers are written down.
type mark struct {
	Import  string `json:"import"`
	Digest  string `json:"digest"`
	Chunk   uint64 `json:"chunk"` // the last one whose answer is written down
	Rows    uint64 `json:"rows"`
	Refused uint64 `json:"refused"`
	Size    int64  `json:"size"` // of the file of refused rows, in bytes
}

// markSize is how long the note is, so that a shorter one leaves nothing of a longer one.
const markSize = 512

// OpenJournal goes on with what an earlier run of the import wrote to the file of refused rows, or begins it anew.
func OpenJournal(path, importID string, f *File) (_ *Journal, err error) {
	j := &Journal{Path: path, file: f}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.close())
		}
	}()
	if j.note, err = os.OpenFile(j.notePath(), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(j.note.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another import writes refused rows to %s; wait for it or name another file with --refused", path)
	}
	if j.out, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	info, err := j.out.Stat()
	if err != nil {
		return nil, err
	}
	if input, err := f.data.Stat(); err != nil || os.SameFile(info, input) {
		return nil, errors.Join(err, fmt.Errorf("%s is the file that is imported; name another one for the refused rows", path))
	}
	fresh := mark{Import: importID, Digest: hex.EncodeToString(f.Digest[:])}
	j.at = j.readMark()
	if j.at.Import != fresh.Import || j.at.Digest != fresh.Digest || j.at.Size > info.Size() {
		j.at = fresh
	}
	return j, j.cut()
}

func (j *Journal) notePath() string { return j.Path + ".progress" }

func (j *Journal) readMark() (m mark) {
	raw := make([]byte, markSize)
	n, err := j.note.ReadAt(raw, 0)
	if err != nil && !errors.Is(err, io.EOF) || json.Unmarshal(raw[:n], &m) != nil {
		return mark{}
	}
	return m
}

// cut drops what is behind the mark.
func (j *Journal) cut() error {
	if err := j.out.Truncate(j.at.Size); err != nil {
		return err
	}
	return j.writeMark()
}

func (j *Journal) writeMark() error {
	raw, err := json.Marshal(j.at)
	if err != nil {
		return err
	}
	_, err = j.note.WriteAt(append(raw, bytes.Repeat([]byte(" "), markSize-len(raw))...), 0)
	return err
}

// Chunk is the last one whose answer is written down.
func (j *Journal) Chunk() uint64 { return j.at.Chunk }

// Restart forgets all answers.
func (j *Journal) Restart() error {
	j.at.Chunk, j.at.Rows, j.at.Refused, j.at.Size = 0, 0, 0, 0
	return j.cut()
}

// add writes the refused rows of the answer to a chunk down.
func (j *Journal) add(c chunk, failures []*devicesv1.RowFailure) error {
	var b bytes.Buffer
	for _, why := range failures {
		if int(why.GetRow()) >= len(c.rows) {
			return fmt.Errorf("the registry refused row %d of a chunk of %d", why.GetRow(), len(c.rows))
		}
		if err := j.encode(&b, c.rows[why.GetRow()], why); err != nil {
			return err
		}
	}
	if b.Len() > 0 {
		if _, err := j.out.WriteAt(b.Bytes(), j.at.Size); err != nil {
			return err
		}
		if err := j.out.Sync(); err != nil {
			return err
		}
	}
	j.at.Chunk = c.sequence
	j.at.Rows += uint64(len(c.rows))
	j.at.Refused += uint64(len(failures))
	j.at.Size += int64(b.Len())
	return j.writeMark()
}

// encode writes a row as the file that is imported has it, and why it was refused.
func (j *Journal) encode(b *bytes.Buffer, r row, why *devicesv1.RowFailure) error {
	values := map[string]string{
		columnUID: r.message.GetUid(), columnKey: hex.EncodeToString(r.message.GetPublicKey()), columnLine: strconv.Itoa(r.line),
		columnReason: why.GetReason(), columnMessage: why.GetMessage(),
	}
	if n := r.message.GetSuite(); n != 0 {
		values[columnSuite] = strconv.Itoa(int(n))
	}
	if n := r.message.GetKeyEpoch(); n != 0 {
		values[columnEpoch] = strconv.FormatUint(uint64(n), 10)
	}
	if j.file.Format == NDJSON {
		return encodeObject(b, values, r.message.GetLabels())
	}
	for key, value := range r.message.GetLabels() {
		values[labelPrefix+key] = value
	}
	return j.encodeRecord(b, values)
}

func encodeObject(b *bytes.Buffer, values, labels map[string]string) error {
	object := map[string]any{}
	for name, value := range values {
		if value != "" {
			object[name] = value
		}
	}
	if len(labels) > 0 {
		object["labels"] = labels
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	return enc.Encode(object)
}

func (j *Journal) encodeRecord(b *bytes.Buffer, values map[string]string) error {
	head := make([]string, 0, len(j.file.head)+3)
	for _, column := range j.file.head {
		if column != columnLine && column != columnReason && column != columnMessage {
			head = append(head, column)
		}
	}
	head = append(head, columnLine, columnReason, columnMessage)
	w := csv.NewWriter(b)
	if j.at.Size == 0 && b.Len() == 0 {
		if err := w.Write(head); err != nil {
			return err
		}
	}
	record := make([]string, len(head))
	for i, column := range head {
		record[i] = values[column]
	}
	if err := w.Write(record); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

// Close keeps what was written down for the next run, or, when the import is through, leaves the refused rows alone, and no file
// when there are none.
func (j *Journal) Close(through bool) error {
	var err error
	if through {
		err = os.Remove(j.notePath())
		if j.at.Size == 0 {
			err = errors.Join(err, os.Remove(j.Path))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, j.close())
}

func (j *Journal) close() error {
	var errs []error
	for _, f := range []*os.File{j.out, j.note} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
