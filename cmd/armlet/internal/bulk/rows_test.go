package bulk_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/bulk"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, content string) *bulk.File {
	t.Helper()
	f, err := bulk.Open(write(t, "devices", content), nil)
	if err != nil {
		t.Fatalf("%q: %v", content, err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

const (
	uid1 = "0000000e0g00000000000000xb"
	uid2 = "0000000e0g00000000000000xc"
)

// The same rows have the same digest however the file writes them.
func TestTheDigestIsOfTheRowsAndNotOfTheFile(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("ab", 32)
	encoded := "\x1a" + uid1 + "\x04\x00\x05\x20" + strings.Repeat("\xab", 32) + "\x02\x01a\x03b,c\x04site\x07Łódź"
	encoded += "\x1a" + uid2 + "\x00\x00\x00\x00\x00"
	want := sha256.Sum256([]byte(encoded))
	base64 := "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
	for name, content := range map[string]string{
		"csv": "uid,suite,key_epoch,public_key,labels.a,labels.site\n" + uid1 + ",4,5," + key + ",\"b,c\",Łódź\n" + uid2 + ",,,,,\n",
		"csv with BOM, CRLF, spaces, empty lines and no last line end": "\ufeffuid , suite,key_epoch,public_key,labels.site,labels.a\r\n\r\n" +
			uid1 + ", ed25519,5," + strings.ToUpper(key) + ",Łódź, \"b,c\" \r\n  \r\n" + uid2 + ",,,,,",
		"csv of refused rows": "labels.a,labels.site,public_key,key_epoch,suite,uid,refused_line,refused_reason,refused_message\n" +
			"\"b,c\",Łódź," + base64 + ",5,SUITE_ED25519," + uid1 + ",7,X,y\n,,,,," + uid2 + ",8,X,y\n",
		"ndjson": `{"uid":"` + uid1 + `","suite":4,"key_epoch":5,"public_key":"` + key + `","labels":{"a":"b,c","site":"Łódź"}}` + "\n" + `{"uid":"` + uid2 + `"}`,
		"ndjson with BOM and texts": "\ufeff\r\n" + `{"labels":{"site":"\u0141\u00f3d\u017a","a":"b,c"},"suite":"ED25519","key_epoch":"5","public_key":"` + base64 + `","uid":"` + uid1 +
			`","refused_line":"3","refused_reason":"X"}` + "\r\n\n" + `{"uid":"` + uid2 + `","suite":null}` + "\n",
	} {
		f := open(t, content)
		if f.Rows != 2 || f.Digest != want {
			t.Errorf("%s: %d rows, digest %x, want %x", name, f.Rows, f.Digest, want)
		}
	}
}

// What cannot be read is told by line and column, all of it at once, and nothing is made of the file.
func TestWhatCannotBeReadIsNamedByLineAndColumn(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                                 "the file is empty",
		"\ufeff":                           "the file is empty",
		"\n\n":                             "the file is empty",
		"\nuid,x\n":                        "line 2, column 2: \"x\" is not the name",
		"uid\n":                            "there is no row in it",
		"uid;suite\n":                      `line 1, column 1: "uid;suite" is not the name of a column; the names are uid`,
		"uid,uid\n":                        "line 1, column 2: there are two columns uid",
		"uid,labels.\n":                    `line 1, column 2: "labels." is not`,
		"suite\n1\n":                       "line 1: names no column uid",
		"uid,\"suite\n":                    "line 1, column 2: a quoted value does not end on its line",
		"uid,suite\n" + uid1 + "\n":        "line 2: has 1 values where the first line names 2 columns",
		"uid\n" + uid1 + ",\n":             "line 2: has 2 values where the first line names 1 columns",
		"uid,suite\nx,foo\n":               `line 2, column 2 (suite): "foo" is neither the number nor the name of a suite`,
		"uid,suite\nx,256\n":               `line 2, column 2 (suite): "256" is neither`,
		"uid,suite\nx,-1\n":                `line 2, column 2 (suite): "-1" is neither`,
		"uid,key_epoch\nx,65536\n":         `line 2, column 2 (key_epoch): "65536" is not a number up to 65535`,
		"uid,public_key\nx,a!\n":           `line 2, column 2 (public_key): "a!" is neither hexadecimal nor base64`,
		"uid\n\"x\n" + uid1 + "\n":         "line 2, column 1: a quoted value does not end on its line",
		"uid\n\"x\"y\n":                    "line 2, column 1: a quoted value is followed",
		"uid,suite\n1,a\"b\n":              "line 2, column 2: a quote stands inside a value",
		"uid\n\xff\n":                      "line 2: is not UTF-8",
		"\xff\xfeu\x00i\x00d\x00":          "line 1, column 2: is not UTF-8",
		"uid\n" + strings.Repeat("0", 256): "line 2, field uid: is longer than 255 bytes",
		"uid,labels.a\nx," + strings.Repeat("0", 256):           "line 2, field labels.a: is longer than 255 bytes",
		"uid\n" + strings.Repeat("x", 128<<10) + "\nx\n":        "line 2: the line is longer than 128 KiB",
		strings.Repeat("x", 1<<20):                              "line 1: the line is longer than 128 KiB",
		`[{"uid":"x"}]`:                                         "line 1: a JSON array begins here; write one object a line",
		`{"uid":"x"` + "\n":                                     "line 1: the object does not end on its line",
		`{"uid":"x"} {"uid":"y"}`:                               "line 1: holds more than one object",
		`{"uid":"x"}` + "\n" + `{"uid":5}`:                      "line 2, field uid: a number cannot stand here",
		`{"uid":"x","color":"red"}`:                             `line 1: unknown field "color"`,
		`{"uid":"x",}`:                                          "line 1: is no JSON at byte 12",
		`{"uid":"x","suite":true}`:                              `line 1, field suite: "true" is neither`,
		`{"uid":"x","labels":{"a":1}}`:                          "line 1, field labels: a number cannot stand here",
		`{"uid":"x"}` + "\n" + "uid,suite":                      "line 2: is no JSON at byte 1",
		`{"uid":"` + strings.Repeat("x", 128<<10) + `"}` + "\n": "line 1: the line is longer than 128 KiB",
	} {
		f, err := bulk.Open(write(t, "devices", content), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", content, err, want)
		}
		if f != nil {
			t.Errorf("%.60q makes a file", content)
		}
	}
	var many strings.Builder
	many.WriteString("uid,suite\n")
	for range 1000 {
		many.WriteString("x,foo\nx,1\n")
	}
	_, err := bulk.Open(write(t, "devices", many.String()), nil)
	var faults *bulk.Faults
	if !errors.As(err, &faults) || faults.Count != 1000 || len(faults.First) != 20 || faults.First[1].Line != 4 ||
		!strings.HasSuffix(err.Error(), "and 980 more") {
		t.Errorf("%v", err)
	}
}

func TestStandardInputIsReadTwice(t *testing.T) {
	t.Parallel()
	content := "uid\n" + uid1 + "\n" + uid2 + "\n"
	f, err := bulk.Open("-", iotest.OneByteReader(strings.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if same := open(t, content); f.Rows != 2 || f.Digest != same.Digest || f.ImportID("lot", "m") != same.ImportID("lot", "m") {
		t.Errorf("%+v", f)
	}
	if _, err := bulk.Open("-", iotest.ErrReader(errors.New("torn"))); err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("%v", err)
	}
	if _, err := bulk.Open(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := bulk.Open(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("%v", err)
	}
}

func TestTheImportIDFollowsFromRowsLotAndMode(t *testing.T) {
	t.Parallel()
	f, other := open(t, "uid\nx\n"), open(t, "uid\ny\n")
	seen := map[string]bool{}
	for _, id := range []string{
		f.ImportID("partners/a/lots/1", "m"), f.ImportID("partners/a/lots/2", "m"), f.ImportID("partners/a/lots/1", "n"), other.ImportID("partners/a/lots/1", "m"),
	} {
		if seen[id] || len(id) != 37 {
			t.Errorf("%s", id)
		}
		seen[id] = true
	}
}

func FuzzOpen(f *testing.F) {
	for _, seed := range []string{"uid\nx\n", "uid,suite,labels.a\n\"a\"\"b\",3,c\n", `{"uid":"x","suite":"3"}`, "\ufeffuid\r\nx", "uid\n\"\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := bulk.Open("-", strings.NewReader(string(content)))
		if err != nil {
			return
		}
		if file.Rows == 0 || file.Digest == [32]byte{} {
			t.Errorf("%+v", file)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
}
