package grpcapi

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

// The field rules of the contract have checked the form of every name before a handler sees it.

func partnerOf(name string) string { return part(name, 1) }

func lastOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func part(name string, i int) string {
	parts := strings.Split(name, "/")
	if i >= len(parts) {
		return ""
	}
	return parts[i]
}

const accountPrefix = "accounts/"

// bareAccount is the account's id, whether or not it was given as a name.
func bareAccount(name string) string { return strings.TrimPrefix(name, accountPrefix) }

// AccountName is the name of an account, empty for none.
func AccountName(account string) string {
	if account == "" {
		return ""
	}
	return accountPrefix + account
}

// UIDText is the text form of a uid.
func UIDText(uid device.UID) string { return wire.UID(uid).String() }

// DeviceName is the name of a device.
func DeviceName(partner string, uid device.UID) string {
	return "partners/" + partner + "/devices/" + UIDText(uid)
}

// ModelName is the name of a model.
func ModelName(partner, id string) string { return "partners/" + partner + "/models/" + id }

// LotName is the name of a lot, empty for number 0.
func LotName(partner string, no uint32) string {
	if no == 0 {
		return ""
	}
	return "partners/" + partner + "/lots/" + strconv.FormatUint(uint64(no), 10)
}

func parseUID(field, text string) (device.UID, error) {
	uid, err := wire.ParseUID(text)
	if err != nil {
		return device.UID{}, fault.InvalidField(field, "the uid is not 26 characters of Crockford base32 that fit 16 bytes").WithCause(err)
	}
	return device.UID(uid), nil
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// domainSuite keeps a number that the enum does not know from wrapping round to one that it does.
func domainSuite(s devicesv1.Suite) device.Suite {
	if s < 0 || s > math.MaxUint8 {
		return 0
	}
	return device.Suite(s)
}

func domainReason(r devicesv1.SuspensionReason) device.Reason {
	if r < 0 || r > math.MaxUint8 {
		return 0
	}
	return device.Reason(r)
}

// ModelMessage is the model as the contract shows it.
func ModelMessage(m device.Model) *devicesv1.Model {
	out := &devicesv1.Model{
		Name: ModelName(m.Partner, m.ID), DisplayName: m.DisplayName, HasDisplay: m.HasDisplay,
		HasWristDetection: m.HasWristDetection, MinSvn: m.MinSVN, CreateTime: timestamp(m.CreatedAt),
		Status: devicesv1.ModelStatus(m.Status), StatusAuthority: devicesv1.Authority(m.StatusBy), Etag: etag(m.Head),
	}
	for _, n := range m.Sensors {
		out.Sensors = append(out.Sensors, devicesv1.Sensor(n))
	}
	for _, n := range m.Proximity {
		out.ProximityMethods = append(out.ProximityMethods, devicesv1.ProximityMethod(n))
	}
	for _, s := range m.Suites {
		out.Suites = append(out.Suites, devicesv1.Suite(s))
	}
	return out
}

// LotMessage is the lot as the contract shows it.
func LotMessage(l lot.Lot) *devicesv1.Lot {
	out := &devicesv1.Lot{
		Name: LotName(l.Partner, l.No), Model: ModelName(l.Partner, l.ModelID), Suite: devicesv1.Suite(l.Suite),
		KeyEpoch: uint32(l.KeyEpoch), FirstSerial: l.First, DeviceCount: l.Count, CreateTime: timestamp(l.CreatedAt),
		Kind: devicesv1.LotKind(l.Kind), State: devicesv1.LotState(l.State),
	}
	if l.Kind == lot.Range {
		out.FirstUid = UIDText(l.UID(l.First))
	}
	for _, e := range l.Exceptions {
		out.Exceptions = append(out.Exceptions, &devicesv1.SerialRange{FirstSerial: e.First, LastSerial: e.Last})
	}
	return out
}

// etag changes with every entry of the thing's record.
func etag(head device.Head) string { return fmt.Sprintf("%d-%x", head.Sequence, head.Hash[:8]) }

// deviceMessage is the device as the actor may see it.
func deviceMessage(d device.Device, viewer device.Actor, now time.Time) *devicesv1.Device {
	out := &devicesv1.Device{
		Name: DeviceName(d.Partner, d.UID), Uid: UIDText(d.UID), Model: ModelName(d.Partner, d.ModelID),
		Lot: LotName(d.Partner, d.LotNo), State: devicesv1.DeviceState(d.State), AuthEpoch: d.AuthEpoch,
		Suite: devicesv1.Suite(d.Suite), CreateTime: timestamp(d.CreatedAt), Etag: etag(d.Head),
	}
	if d.Transfer.Pending(now) {
		out.TransferExpireTime = timestamp(d.Transfer.Until)
	}
	if viewer.Role != device.RoleWearer {
		out.Labels, out.Credentials = d.Labels, credentialMessages(d.Credentials)
	}
	if viewer.SeesAccount() {
		out.Account = AccountName(d.Account)
	}
	for _, s := range d.Suspensions {
		out.Suspensions = append(out.Suspensions, &devicesv1.Suspension{
			Reason: devicesv1.SuspensionReason(s.Reason), Authority: devicesv1.Authority(s.Authority), CreateTime: timestamp(s.At),
		})
	}
	return out
}

func bindingMessage(b binding.Binding) *devicesv1.Binding {
	return &devicesv1.Binding{
		BindingId: b.ID[:], Device: DeviceName(b.Partner, b.UID), Account: AccountName(b.Account), BindNonce: b.Nonce[:],
		State: devicesv1.BindingState(b.State), Generation: b.Generation,
	}
}

func standingMessage(st binding.Standing, viewer device.Actor, now time.Time) *devicesv1.CheckDeviceResponse {
	block, valid := st.Device.Blocked(now), st.Device.Valid(now)
	out := &devicesv1.CheckDeviceResponse{
		Device: deviceMessage(st.Device, viewer, now), CanPay: block == device.NotBlocked, BlockReason: devicesv1.BlockReason(block),
		KeyEpoch: uint32(st.Device.KeyEpoch), Credentials: credentialMessages(valid), RecheckTime: timestamp(st.Device.Recheck(now)), Model: ModelMessage(st.Model),
	}
	if len(valid) > 0 {
		out.PublicKey = valid[0].Key
	}
	if st.Binding != nil {
		out.Binding = bindingMessage(*st.Binding)
	}
	return out
}

func entryMessage(e device.Entry) *devicesv1.AuditEntry {
	return &devicesv1.AuditEntry{
		Sequence: e.Sequence, Actor: e.Actor, Action: e.Action, State: devicesv1.DeviceState(e.State), AuthEpoch: e.AuthEpoch,
		CreateTime: timestamp(e.At), Hash: e.Hash[:], Note: e.Note, Position: e.Position, ContentHash: contentHash(e),
	}
}

func contentHash(e device.Entry) []byte {
	if e.Content == (device.Entry{}).Content {
		return nil
	}
	return e.Content[:]
}

func credentialMessages(credentials []device.Credential) []*devicesv1.Credential {
	var out []*devicesv1.Credential
	for _, c := range credentials {
		out = append(out, &devicesv1.Credential{
			CredentialId: c.ID, PublicKey: c.Key, ValidFromTime: timestamp(c.From), ValidUntilTime: timestamp(c.Until),
		})
	}
	return out
}

// small keeps a number that an enum does not know from wrapping round to one that it does.
func small[E ~int32](numbers []E) []uint8 {
	var out []uint8
	for _, n := range numbers {
		if n < 0 || n > math.MaxUint8 {
			n = 0
		}
		out = append(out, uint8(n))
	}
	return out
}
