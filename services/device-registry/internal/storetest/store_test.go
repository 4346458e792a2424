package storetest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

func TestModelsAreKeptWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		want := device.Model{
			Partner: "acme", ID: "w1", DisplayName: "W1", Suites: []device.Suite{1, 2, 4}, HasDisplay: true, MinSVN: 3, CreatedAt: noon, Status: device.ModelActive,
		}
		got, err := s.Model(t.Context(), "acme", "w1")
		want.Head = got.Head // checked with the record
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		wantReason(t, s.CreateModel(t.Context(), want, device.ModelEvent{Action: device.ModelCreated, Model: want, By: acme, At: noon}), "MODEL_EXISTS")
		_, err = s.Model(t.Context(), "zenith", "w1")
		wantReason(t, err, "MODEL_NOT_FOUND")
	})
}

func TestLotsAreKeptWholeAndListedByNumber(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx := t.Context()
		for _, no := range []uint32{math.MaxUint32, 10, 9} {
			l := s.lot
			l.No, l.First, l.Count = no, math.MaxUint64-1, 2
			if err := s.CreateLot(ctx, l, lot.Event{Action: lot.Created, Lot: l, By: acme, At: noon}); err != nil {
				t.Fatal(err)
			}
			got, err := s.Lot(ctx, "acme", no)
			l.Head = got.Head // checked with the record
			if diff := cmp.Diff(l, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		}
		wantReason(t, s.CreateLot(ctx, s.lot, lot.Event{Action: lot.Created, Lot: s.lot, By: acme, At: noon}), "LOT_EXISTS")
		_, err := s.Lot(ctx, "zenith", 9)
		wantReason(t, err, "LOT_NOT_FOUND")

		var numbers []uint32
		for after := uint32(0); ; {
			lots, err := s.Lots(ctx, "acme", after, 3)
			if err != nil {
				t.Fatal(err)
			}
			if len(lots) == 0 {
				break
			}
			for _, l := range lots {
				numbers = append(numbers, l.No)
			}
			after = numbers[len(numbers)-1]
		}
		if diff := cmp.Diff([]uint32{3, 9, 10, math.MaxUint32}, numbers); diff != "" {
			t.Error(diff)
		}
	})
}

func TestADeviceOfALotIsKnownBeforeItIsSeen(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		uid := s.lot.UID(1000)
		want := device.Device{
			UID: uid, Partner: "acme", ModelID: "w1", LotNo: 3, State: device.Available, Suite: device.HMACSHA256, KeyEpoch: 2,
			AuthEpoch: 1, ModelStatus: device.ModelActive, LotState: device.LotReleased,
		}
		if diff := cmp.Diff(want, s.device(uid)); diff != "" {
			t.Error(diff)
		}
		st, err := s.Standing(t.Context(), uid)
		if err != nil || st.Model.ID != "w1" || st.Binding != nil {
			t.Errorf("%v %+v", err, st)
		}
		for _, serial := range []uint64{999, 1_001_000, math.MaxUint64} {
			_, err := s.Device(t.Context(), s.lot.UID(serial))
			wantReason(t, err, "DEVICE_NOT_FOUND")
		}
		if n := s.count(`SELECT count(*) FROM devices`); n != 0 {
			t.Errorf("reading made %d rows", n)
		}
	})
}

func TestAChangeThatIsRefusedLeavesNothingBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		uid := s.lot.UID(1001)
		_, err := s.devices.Lift(t.Context(), operator, "acme", uid, device.Risk, noon)
		wantReason(t, err, "SUSPENSION_NOT_FOUND")
		_, err = s.devices.Suspend(t.Context(), operator, "zenith", uid, device.Risk, "", noon)
		wantReason(t, err, "DEVICE_NOT_FOUND")
		for _, table := range []string{"devices", "suspensions", "audit_entries"} {
			if n := s.count(`SELECT count(*) FROM `+table) - map[string]int{"audit_entries": 2}[table]; n != 0 { // the model's and the lot's
				t.Errorf("%s has %d rows", table, n)
			}
		}
	})
}

func TestAChangeItsRecordAndItsEventGoTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx, uid := t.Context(), s.lot.UID(1002)
		text := wire.UID(uid).String()
		s.bind(uid, "alice", noon)
		later := noon.Add(time.Hour)
		if _, err := s.devices.Suspend(ctx, operator, "acme", uid, device.Risk, "odd taps", later); err != nil {
			t.Fatal(err)
		}
		if _, err := s.devices.Suspend(ctx, acme, "acme", uid, device.PartnerHold, "", later); err != nil {
			t.Fatal(err)
		}
		if _, err := s.devices.Lift(ctx, operator, "-", uid, device.Risk, later); err != nil {
			t.Fatal(err)
		}
		d := s.device(uid)
		wantSuspensions := []device.Suspension{{Reason: device.PartnerHold, Authority: device.AuthorityPartner, At: later}}
		if diff := cmp.Diff(wantSuspensions, d.Suspensions); diff != "" || d.AuthEpoch != 5 || d.Account != "alice" || d.State != device.Bound {
			t.Errorf("%s %+v", diff, d)
		}
		actions := []string{"binding.confirmed", "suspension.added.risk", "suspension.added.partner_hold", "suspension.lifted.risk"}
		if diff := cmp.Diff(actions, s.chain(uid)); diff != "" {
			t.Error(diff)
		}
		const at = "evt.v1.live.devices."
		if diff := cmp.Diff([]string{
			at + "lot.created.acme.3", at + "device.bound.acme." + text, at + "device.suspended.acme." + text,
			at + "device.suspended.acme." + text, at + "device.suspension_lifted.acme." + text,
		}, s.subjects()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestARecordChangedBehindItsBackIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		uid := s.lot.UID(1003)
		s.bind(uid, "alice", noon)
		if _, err := s.db.ExecContext(t.Context(), `UPDATE audit_entries SET actor = 'service/other'`); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Entries(t.Context(), uid, 0, 10)
		if err != nil || len(entries) != 1 || entries[0].Follows(device.Head{}) {
			t.Errorf("%v, %d entries, and the first still follows", err, len(entries))
		}
	})
}

func TestASingleDeviceIsKeptWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx := t.Context()
		d := device.Device{
			UID: device.UID{3: 7, 7: 99, 15: 1}, Partner: "acme", ModelID: "w1", Suite: device.Ed25519, KeyEpoch: 1,
		}
		made, err := s.devices.CreateDevice(ctx, acme, d, make([]byte, 32), noon)
		if err != nil {
			t.Fatal(err)
		}
		got := s.device(d.UID)
		got.Head = device.Head{}
		if diff := cmp.Diff(made, got); diff != "" {
			t.Error(diff)
		}
		_, err = s.devices.CreateDevice(ctx, acme, d, make([]byte, 32), noon)
		wantReason(t, err, "DEVICE_EXISTS")
		d.UID = s.lot.UID(1000)
		_, err = s.devices.CreateDevice(ctx, acme, d, make([]byte, 32), noon)
		wantReason(t, err, "DEVICE_EXISTS")
		if diff := cmp.Diff([]string{"device.created"}, s.chain(made.UID)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDevicesAreListedByUIDAndOwner(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx := t.Context()
		// Serials chosen so that the text form differs in letters and digits: its order must be that of the bytes.
		serials := []uint64{1009, 1010, 1017, 1031, 1032, 1040, 2100}
		owners := []string{"alice", "bob"}
		for i := len(serials) - 1; i >= 0; i-- {
			s.bind(s.lot.UID(serials[i]), owners[i%2], noon)
		}
		read := func(f store.DeviceFilter) (got []uint64) {
			for {
				page, err := s.Devices(ctx, f)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					return got
				}
				for _, d := range page {
					got = append(got, wire.UID(d.UID).Serial())
				}
				f.After = page[len(page)-1].UID
			}
		}
		for _, c := range []struct {
			f    store.DeviceFilter
			want []uint64
		}{
			{store.DeviceFilter{Limit: 2}, serials},
			{store.DeviceFilter{Limit: 3, Partner: "acme"}, serials},
			{store.DeviceFilter{Limit: 3, Partner: "zenith"}, nil},
			{store.DeviceFilter{Limit: 2, Account: "bob"}, []uint64{1010, 1031, 1040}},
			{store.DeviceFilter{Limit: 2, Account: "bob", Partner: "acme"}, []uint64{1010, 1031, 1040}},
			{store.DeviceFilter{Limit: 2, Account: "bob", Partner: "zenith"}, nil},
		} {
			if diff := cmp.Diff(c.want, read(c.f)); diff != "" {
				t.Errorf("%+v: %s", c.f, diff)
			}
		}
	})
}

func TestALaterBindingOfTheSameAccountTakesThePlaceOfTheEarlier(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx, uid := t.Context(), s.lot.UID(1004)
		first, other, second := s.begin(uid, "alice"), s.begin(uid, "bob"), s.begin(uid, "alice")
		_, err := s.bindings.Confirm(ctx, auth, first.ID, noon)
		wantReason(t, err, "BINDING_SUPERSEDED")
		if _, err := s.bindings.Confirm(ctx, auth, second.ID, noon); err != nil {
			t.Fatal(err)
		}
		_, err = s.bindings.Confirm(ctx, auth, other.ID, noon)
		wantReason(t, err, "ALREADY_BOUND")

		again := s.bind(uid, "alice", noon.Add(time.Minute))
		if again.Generation != 2 {
			t.Errorf("generation is %d", again.Generation)
		}
		_, err = s.bindings.Confirm(ctx, auth, second.ID, noon)
		wantReason(t, err, "BINDING_SUPERSEDED")
		st, err := s.Standing(ctx, uid)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&again, st.Binding); diff != "" {
			t.Error(diff)
		}
		_, err = s.bindings.Confirm(ctx, auth, device.BindingID{1}, noon)
		wantReason(t, err, "BINDING_NOT_FOUND")
		_, err = s.bindings.Begin(ctx, device.UID{1}, "alice", noon)
		wantReason(t, err, "DEVICE_NOT_FOUND")
	})
}

func TestAnAccountStandsForTheDeviceBoundToItLast(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx := t.Context()
		_, err := s.StandingOf(ctx, "alice")
		wantReason(t, err, "DEVICE_NOT_FOUND")
		s.bind(s.lot.UID(1005), "alice", noon.Add(2*time.Second))
		s.bind(s.lot.UID(1006), "alice", noon.Add(time.Second))
		st, err := s.StandingOf(ctx, "alice")
		if err != nil || st.Device.UID != s.lot.UID(1005) || st.Binding == nil || st.Model.ID != "w1" {
			t.Errorf("%v %+v", err, st)
		}
		s.bind(s.lot.UID(1006), "alice", noon.Add(3*time.Second))
		if st, err = s.StandingOf(ctx, "alice"); err != nil || st.Device.UID != s.lot.UID(1006) {
			t.Errorf("%v %+v", err, st)
		}
	})
}

func TestARepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx, ran := t.Context(), 0
		r := store.Request{Caller: "partner/acme", Method: "M", ID: "r1", Fingerprint: make([]byte, 32), At: noon}
		do := func(context.Context) ([]byte, error) { ran++; return []byte{byte(ran)}, nil }
		for range 3 {
			if got, err := s.Once(ctx, r, do); err != nil || len(got) != 1 || got[0] != 1 {
				t.Errorf("%v %v", got, err)
			}
		}
		other := r
		other.Fingerprint = append([]byte{1}, r.Fingerprint[1:]...)
		_, err := s.Once(ctx, other, do)
		wantReason(t, err, "REQUEST_ID_REUSED")
		for _, spoil := range []func(*store.Request){
			func(r *store.Request) { r.Caller = "partner/zenith" },
			func(r *store.Request) { r.Method = "N" },
			func(r *store.Request) { r.ID = "r2" },
		} {
			next := r
			spoil(&next)
			before := ran
			if _, err := s.Once(ctx, next, do); err != nil || ran != before+1 {
				t.Errorf("%+v: %v, ran %d times", next, err, ran-before)
			}
		}
	})
}

func TestARefusedRequestIsForgottenWithItsEffects(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx := t.Context()
		r := store.Request{Caller: "partner/acme", Method: "M", ID: "r1", Fingerprint: make([]byte, 32), At: noon}
		_, err := s.Once(ctx, r, func(ctx context.Context) ([]byte, error) {
			s.bind2(ctx, s.lot.UID(1007), "alice")
			return nil, device.ErrSuspended
		})
		wantReason(t, err, "DEVICE_SUSPENDED")
		if !s.device(s.lot.UID(1007)).Unseen() {
			t.Error("the device has a row")
		}
		answer, err := s.Once(ctx, r, func(ctx context.Context) ([]byte, error) {
			s.bind2(ctx, s.lot.UID(1007), "alice")
			return []byte("done"), nil
		})
		if err != nil || string(answer) != "done" || s.device(s.lot.UID(1007)).Account != "alice" {
			t.Errorf("%q %v", answer, err)
		}
	})
}

// bind2 binds within the transaction that ctx carries.
func (s suite) bind2(ctx context.Context, uid device.UID, account string) {
	b, err := s.bindings.Begin(ctx, uid, account, noon)
	if err == nil {
		_, err = s.bindings.Confirm(ctx, auth, b.ID, noon)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestSecretsAreMadeOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		a, err := s.Secret(t.Context(), "page")
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Secret(t.Context(), "page")
		other, err2 := s.Secret(t.Context(), "other")
		if err != nil || err2 != nil || len(a) != 32 || string(a) != string(b) || string(a) == string(other) {
			t.Errorf("%x %x %x %v %v", a, b, other, err, err2)
		}
	})
}

func TestTheDatabaseItselfForbids(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		ctx, uid := t.Context(), s.lot.UID(1008)
		s.bind(uid, "alice", noon)
		second := s.begin(uid, "bob")
		for name, c := range map[string]struct {
			query   string
			refused func(error) bool
		}{
			"a second active binding":        {`UPDATE bindings SET state = 2, generation = 2, bound_at = 1 WHERE account = 'bob'`, sqldb.IsUnique},
			"an active binding of no number": {`UPDATE bindings SET generation = 0, bound_at = NULL WHERE account = 'alice'`, sqldb.IsCheck},
			"an unknown state":               {`UPDATE devices SET state = 6`, sqldb.IsCheck},
			"an epoch below one":             {`UPDATE devices SET auth_epoch = 0`, sqldb.IsCheck},
			"a symmetric suite with a key":   {`UPDATE devices SET public_key = nonce FROM bindings WHERE bindings.uid = devices.uid`, sqldb.IsCheck},
			"an unknown authority":           {`INSERT INTO suspensions (uid, reason, authority, created_at) SELECT uid, 1, 5, 1 FROM devices`, sqldb.IsCheck},
			"a suspension of nothing":        {`INSERT INTO suspensions (uid, reason, authority, created_at) VALUES ('00000000000000000000000000', 1, 1, 1)`, sqldb.IsForeignKey},
			"a lot with suite 4":             {`UPDATE lots SET suite = 4`, sqldb.IsCheck},
			"a lot without a model":          {`UPDATE lots SET model_id = 'none'`, sqldb.IsForeignKey},
		} {
			if _, err := s.db.ExecContext(ctx, c.query); !c.refused(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if second.State != binding.Pending {
			t.Errorf("state is %d", second.State)
		}
	})
}
