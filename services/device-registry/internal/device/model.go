package device

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Model is a kind of band.
type Model struct {
	Partner           string
	ID                string
	DisplayName       string
	Suites            []Suite
	HasDisplay        bool
	HasWristDetection bool
	MinSVN            int32 // lowest firmware security version that may pay, 0 to 65535
	Sensors           []uint8
	Proximity         []uint8
	Status            ModelStatus
	// StatusBy is the authority that set the status last; 0 while nobody has.
	StatusBy Authority
	// Epoch is what the model adds to the auth epoch of each of its devices.
	Epoch     int64
	Head      Head
	CreatedAt time.Time
}

// ModelStatus acts on every device of the model. The numbers are stored.
type ModelStatus uint8

// The statuses.
const (
	ModelActive      ModelStatus = 1
	ModelBlocked     ModelStatus = 2
	ModelCompromised ModelStatus = 3
)

// The largest numbers of a sensor and of a proximity method in the contract.
const (
	maxSensor    = 7
	maxProximity = 4
)

// ModelEvent is one change to a model.
type ModelEvent struct {
	Action string // in the audit record
	Model  Model  // after the change
	By     Actor
	At     time.Time
	Note   string
}

// The actions of models.
const (
	ModelCreated       = "model.created"
	ModelUpdated       = "model.updated"
	ModelStatusChanged = "model.status"
)

// Subject is the model's name in the audit record.
func (m Model) Subject() string { return "models/" + m.Partner + "/" + m.ID }

// Content is the hash of everything about the model.
func (m Model) Content() [sha256.Size]byte {
	b := appendText([]byte("armlet/model/1\x00"), m.Partner)
	b = appendText(b, m.ID)
	b = appendText(b, m.DisplayName)
	b = append(b, fmt.Sprintf("%v|%t|%t|%d|%v|%v|%d|%d|%d", m.Suites, m.HasDisplay, m.HasWristDetection, m.MinSVN, m.Sensors,
		m.Proximity, m.Status, m.StatusBy, m.Epoch)...)
	b = appendTime(b, m.CreatedAt)
	return sha256.Sum256(b)
}

// Record is the entry of an event of the model, and the head of its chain after it.
func (e ModelEvent) Record() (Entry, Head) {
	return RecordOf(e.Model.Head, Entry{
		Subject: e.Model.Subject(), Actor: e.By.String(), Action: e.Action, AuthEpoch: e.Model.Epoch, At: e.At, Note: e.Note,
		Content: e.Model.Content(),
	})
}

// SetStatus blocks or frees the devices of the model. It refuses with AUTHORITY_TOO_LOW what only an operator may undo:
// what an operator has set, and COMPROMISED.
func (m Model) SetStatus(status ModelStatus, note string, by Actor, now time.Time) (Model, []ModelEvent, error) {
	if status < ModelActive || status > ModelCompromised {
		return m, nil, fault.InvalidField("status", "there is no such status")
	}
	if status == m.Status {
		return m, nil, nil
	}
	if by.Authority() < m.StatusBy || m.Status == ModelCompromised && by.Authority() < AuthorityOperator {
		return m, nil, fault.New(fault.PermissionDenied, "AUTHORITY_TOO_LOW", "the model's present status is changed by the operator alone; ask them")
	}
	m.Status, m.StatusBy = status, by.Authority()
	m.Epoch++
	text := [...]string{ModelActive: "ACTIVE", ModelBlocked: "BLOCKED", ModelCompromised: "COMPROMISED"}[status]
	if note != "" {
		text += ": " + note
	}
	return m, []ModelEvent{{Action: ModelStatusChanged, Model: m, By: by, At: now, Note: text}}, nil
}

// ModelPaths are the facts of a model that can be changed.
var ModelPaths = []string{"display_name", "has_display", "has_wrist_detection", "min_svn", "sensors", "proximity_methods"}

// Change takes the facts that paths name from next. It refuses with INVALID_FIELD.
func (m Model) Change(next Model, paths []string, by Actor, now time.Time) (Model, []ModelEvent, error) {
	if len(paths) == 0 {
		return m, nil, fault.InvalidField("update_mask", "must name at least one of %v", ModelPaths)
	}
	old := m.Content()
	for _, path := range paths {
		switch path {
		case "display_name":
			m.DisplayName = next.DisplayName
		case "has_display":
			m.HasDisplay = next.HasDisplay
		case "has_wrist_detection":
			m.HasWristDetection = next.HasWristDetection
		case "min_svn":
			m.MinSVN = next.MinSVN
		case "sensors":
			m.Sensors = next.Sensors
		case "proximity_methods":
			m.Proximity = next.Proximity
		default:
			return m, nil, fault.InvalidField("update_mask", "%q is not one of %v", path, ModelPaths)
		}
	}
	if err := m.Validate(); err != nil {
		return m, nil, err
	}
	if m.Content() == old {
		return m, nil, nil
	}
	m.Epoch++
	return m, []ModelEvent{{Action: ModelUpdated, Model: m, By: by, At: now, Note: strings.Join(paths, ", ")}}, nil
}

// maxDisplayName is in characters.
const maxDisplayName = 100

// ErrModelNotFound is the refusal for a model that is not there or not the caller's.
var ErrModelNotFound = fault.New(fault.NotFound, "MODEL_NOT_FOUND", "there is no such model, or it is not yours; check the name")

// Validate refuses a model whose facts cannot be true.
func (m Model) Validate() error {
	if n := utf8.RuneCountInString(m.DisplayName); n < 1 || n > maxDisplayName || strings.ContainsFunc(m.DisplayName, unicode.IsControl) {
		return fault.InvalidField("model.display_name", "must have 1 to %d characters, and none of control", maxDisplayName)
	}
	if len(m.Suites) == 0 {
		return fault.InvalidField("model.suites", "must name at least one suite")
	}
	for i, s := range m.Suites {
		if !s.Valid() || slices.Contains(m.Suites[:i], s) {
			return fault.InvalidField(fmt.Sprintf("model.suites[%d]", i), "must be a known suite, and each only once")
		}
	}
	if err := distinct("model.sensors", m.Sensors, maxSensor); err != nil {
		return err
	}
	if err := distinct("model.proximity_methods", m.Proximity, maxProximity); err != nil {
		return err
	}
	if m.MinSVN < 0 || m.MinSVN > math.MaxUint16 {
		return fault.InvalidField("model.min_svn", "must be from 0 to 65535")
	}
	return nil
}

func distinct(field string, numbers []uint8, most uint8) error {
	for i, n := range numbers {
		if n < 1 || n > most || slices.Contains(numbers[:i], n) {
			return fault.InvalidField(fmt.Sprintf("%s[%d]", field, i), "must be a known value, and each only once")
		}
	}
	return nil
}

// Supports is nil when devices of the model may use the suite, and SUITE_NOT_SUPPORTED otherwise.
func (m Model) Supports(s Suite) error {
	if !slices.Contains(m.Suites, s) {
		return fault.New(fault.FailedPrecondition, "SUITE_NOT_SUPPORTED", "model %s does not list suite %d; choose one that it lists", m.ID, s)
	}
	return nil
}
