// Package bus turns what happened in the registry into events of its contract and puts them into the outbox.
package bus

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

// Stream and Subjects are where the registry's events are kept.
const (
	Stream   = "EVT_DEVICES"
	Subjects = "evt.v1.*." + domain + ".>"
)

const (
	source = "/services/device-registry"
	domain = "devices"
	mode   = "live"
)

// Outbox writes events in the transaction that makes them true.
type Outbox struct{}

// DeviceEvent appends the event of a change to a device, if the contract has one for it.
func (Outbox) DeviceEvent(ctx context.Context, tx *sqldb.Tx, ev device.Event) error {
	d := ev.Device
	name, account := grpcapi.DeviceName(d.Partner, d.UID), grpcapi.AccountName(d.Account)
	reason := devicesv1.SuspensionReason(ev.Reason)
	var verb string
	var msg proto.Message
	switch ev.Kind {
	case device.EventBound:
		verb = "bound"
		msg = &devicesv1.DeviceBound{Device: name, Account: account, BindingId: ev.Binding[:], AuthEpoch: d.AuthEpoch}
	case device.EventSuspended:
		verb = "suspended"
		msg = &devicesv1.DeviceSuspended{Device: name, Account: account, Reason: reason, AuthEpoch: d.AuthEpoch}
	case device.EventSuspensionLifted:
		verb = "suspension_lifted"
		msg = &devicesv1.SuspensionLifted{Device: name, Account: account, Reason: reason, AuthEpoch: d.AuthEpoch}
	case device.EventReleased:
		verb = "released"
		msg = &devicesv1.DeviceReleased{
			Device: name, Account: grpcapi.AccountName(ev.Account), BindingId: ev.Binding[:], AuthEpoch: d.AuthEpoch,
		}
	case device.EventEnded:
		verb = "retired"
		if d.State == device.Revoked {
			verb = "revoked"
		}
		msg = &devicesv1.DeviceEnded{
			Device: name, Account: grpcapi.AccountName(ev.Account), State: devicesv1.DeviceState(d.State), AuthEpoch: d.AuthEpoch,
		}
	case device.EventTransferred:
		verb = "bound"
		msg = &devicesv1.DeviceBound{Device: name, Account: account, BindingId: ev.Binding[:], AuthEpoch: d.AuthEpoch}
	default: // for the record and the watchers alone
		return nil
	}
	subject := events.Subject{Mode: mode, Domain: domain, Entity: "device", Verb: verb, Partner: d.Partner, ID: grpcapi.UIDText(d.UID)}
	return add(ctx, tx, subject, name, ev.At, msg)
}

// LotEvent appends the event of a change to a lot, if the contract has one for it.
func (Outbox) LotEvent(ctx context.Context, tx *sqldb.Tx, ev lot.Event) error {
	l := ev.Lot
	var verb string
	var msg proto.Message
	switch ev.Action {
	case lot.Created:
		verb, msg = "created", &devicesv1.LotCreated{Lot: grpcapi.LotMessage(l)}
	case lot.Released:
		verb, msg = "released", &devicesv1.LotReleased{Lot: grpcapi.LotMessage(l)}
	case lot.Recalled:
		verb, msg = "recalled", &devicesv1.LotRecalled{Lot: grpcapi.LotMessage(l)}
	default:
		return nil
	}
	subject := events.Subject{
		Mode: mode, Domain: domain, Entity: "lot", Verb: verb, Partner: l.Partner, ID: strconv.FormatUint(uint64(l.No), 10),
	}
	return add(ctx, tx, subject, grpcapi.LotName(l.Partner, l.No), ev.At, msg)
}

// ModelEvent appends the event of a change to a model, if the contract has one for it.
func (Outbox) ModelEvent(ctx context.Context, tx *sqldb.Tx, ev device.ModelEvent) error {
	if ev.Action != device.ModelStatusChanged {
		return nil
	}
	m := ev.Model
	subject := events.Subject{Mode: mode, Domain: domain, Entity: "model", Verb: "status_changed", Partner: m.Partner, ID: m.ID}
	return add(ctx, tx, subject, grpcapi.ModelName(m.Partner, m.ID), ev.At, &devicesv1.ModelStatusChanged{Model: grpcapi.ModelMessage(m)})
}

func add(ctx context.Context, tx *sqldb.Tx, subject events.Subject, key string, at time.Time, msg proto.Message) error {
	ev, err := events.New(source, subject.String(), key, at, msg, ctx)
	if err != nil {
		return err
	}
	return events.Append(ctx, tx, ev)
}
