package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/imports"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

const rounds = 12

func TestAReleaseRacesASuspension(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		released := 0
		for round := range uint64(rounds) {
			uid, account := s.lot.UID(8000+round), fmt.Sprintf("account-%d", round)
			id := s.bind(uid, account, noon).ID
			errs := atOnce(t.Context(), 2, func(ctx context.Context, i int) error {
				if i == 0 {
					_, err := s.bindings.Release(ctx, auth, id, account, "proof", noon)
					return err
				}
				_, err := s.devices.Suspend(ctx, operator, "-", uid, device.Risk, "", noon)
				return err
			})
			if errs[1] != nil {
				t.Fatal(errs[1])
			}
			want, state, owner := []string{"binding.confirmed", "binding.released", "suspension.added.risk"}, device.Available, ""
			if errs[0] != nil {
				wantReason(t, errs[0], "DEVICE_SUSPENDED")
				want, state, owner = slices.Delete(want, 1, 2), device.Bound, account
			} else {
				released++
			}
			d := s.device(uid)
			if diff := cmp.Diff(want, s.chain(uid)); diff != "" || d.State != state || d.Account != owner || len(d.Suspensions) != 1 ||
				d.AuthEpoch != int64(1+len(want)) {
				t.Errorf("%+v: %s", d, diff)
			}
			if got := s.count(`SELECT count(*) FROM bindings WHERE account = $1 AND state = 2`, account); (got == 1) != (owner != "") {
				t.Errorf("%d active bindings of %q", got, owner)
			}
		}
		events := `SELECT count(*) FROM outbox WHERE type = 'armlet.devices.v1.`
		if got := s.count(events + `DeviceReleased'`); got != released {
			t.Errorf("%d events of %d releases", got, released)
		}
		if got := s.count(events + `DeviceSuspended'`); got != rounds {
			t.Errorf("%d events of %d suspensions", got, rounds)
		}
	})
}

func TestATransferRacesALossReport(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		for round := range uint64(rounds) {
			uid := s.lot.UID(9000 + round)
			owner, taker := fmt.Sprintf("owner-%d", round), fmt.Sprintf("taker-%d", round)
			s.bind(uid, owner, noon)
			wearer := device.Actor{Role: device.RoleWearer, ID: owner, Account: owner}
			_, err := s.devices.Change(t.Context(), wearer, "acme", uid, noon, func(old device.Device) (device.Device, []device.Event, error) {
				return old.BeginTransfer(device.TransferHash(uid, "code"), wearer, noon)
			})
			if err != nil {
				t.Fatal(err)
			}
			id := s.begin(uid, taker).ID
			errs := atOnce(t.Context(), 3, func(ctx context.Context, i int) error {
				if i == 2 {
					_, err := s.devices.Suspend(ctx, wearer, "acme", uid, device.OwnerLost, "", noon)
					return err
				}
				_, err := s.bindings.Complete(ctx, auth, id, "code", noon) // twice, as auth may when an answer is lost
				return err
			})
			d, last := s.device(uid), "transfer.completed"
			if errs[2] == nil {
				last = "suspension.added.owner_lost"
				wantReason(t, errs[0], "DEVICE_SUSPENDED")
				wantReason(t, errs[1], "DEVICE_SUSPENDED")
				if d.Account != owner || d.Blocked(noon) != device.Suspended {
					t.Errorf("lost, and yet %+v", d)
				}
			} else {
				wantReason(t, errs[2], "DEVICE_NOT_FOUND") // it is not the old owner's any more
				if diff := cmp.Diff([]error{nil, nil}, errs[:2]); diff != "" || d.Account != taker || d.Blocked(noon) != device.NotBlocked {
					t.Errorf("handed on, and yet %+v: %s", d, diff)
				}
			}
			if diff := cmp.Diff([]string{"binding.confirmed", "transfer.begun", last}, s.chain(uid)); diff != "" || d.AuthEpoch != 4 {
				t.Errorf("epoch %d: %s", d.AuthEpoch, diff)
			}
		}
	})
}

// listed makes an empty listed lot and the beginning of an import into it.
func (s suite) listed(no uint32, id string, rows int) imports.Position {
	s.t.Helper()
	l := lot.Lot{Kind: lot.Listed, State: device.LotReleased, Partner: "acme", No: no, ModelID: "w1", Suite: device.HMACSHA256, KeyEpoch: 2}
	if _, err := lot.NewService(s.Store).Create(s.t.Context(), acme, l, noon); err != nil {
		s.t.Fatal(err)
	}
	fresh, err := imports.New(imports.Import{Partner: "acme", ID: id, LotNo: no, Expected: uint64(rows), Mode: imports.CreateOnly}, noon)
	if err == nil {
		_, err = s.OpenImport(s.t.Context(), fresh)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return imports.Position{Partner: "acme", ID: id, LotNo: no}
}

// chunks are n pieces of size rows each for the lot, of the same devices forwards or backwards.
func chunks(no uint32, n, size int, backwards bool) []imports.Chunk {
	judge := imports.Reception{
		Lot:      lot.Lot{Kind: lot.Listed, Partner: "acme", PartnerNo: 7, No: no, ModelID: "w1", Suite: device.HMACSHA256, KeyEpoch: 2},
		Model:    device.Model{Partner: "acme", ID: "w1", Suites: []device.Suite{device.HMACSHA256}},
		ParseUID: func(text string) (device.UID, bool) { return device.UID([]byte(text)), true },
	}
	var out []imports.Chunk
	for i := range n {
		rows := make([]imports.Row, size)
		for j := range rows {
			number := i*size + j
			if backwards {
				number = n*size - 1 - number
			}
			rows[j].UID = fmt.Sprintf("\x00\x00\x00\x07%012d", number)
		}
		out = append(out, judge.Chunk(uint64(i+1), rows, noon))
	}
	return out
}

// Two files name the same devices, and both are imported at once: each device comes from one of them, and is refused in the
// other.
func TestTwoImportsOfTheSameDevicesRace(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		const n, size = 12, 25
		at := []imports.Position{s.listed(20, "a", n*size), s.listed(21, "b", n*size)}
		var made [2]int
		errs := atOnce(t.Context(), 2, func(ctx context.Context, i int) error {
			for together := range slices.Chunk(chunks(at[i].LotNo, n, size, i == 1), 3) {
				acks, err := s.ApplyChunks(ctx, at[i], together, acme, noon)
				if err != nil {
					return err
				}
				for _, ack := range acks {
					made[i] += int(ack.Created)
					if int(ack.Created)+len(ack.Failures) != size || ack.Unchanged != 0 {
						return fmt.Errorf("%+v", ack)
					}
					for _, f := range ack.Failures {
						if f.Reason != "DEVICE_EXISTS" {
							return fmt.Errorf("%+v", f)
						}
					}
				}
			}
			return nil
		})
		if diff := cmp.Diff(map[string]int{"": 2}, tally(errs)); diff != "" {
			t.Fatal(diff)
		}
		t.Logf("one made %d, the other %d", made[0], made[1])
		if got := s.count(`SELECT count(*) FROM devices`); got != n*size || made[0]+made[1] != n*size {
			t.Errorf("%d devices, made %v", got, made)
		}
		for i, p := range at {
			l, err := s.Lot(t.Context(), p.Partner, p.LotNo)
			if err != nil || int(l.Count) != made[i] || l.Head.Sequence != 1+n {
				t.Errorf("%v %+v, made %v", err, l, made)
			}
			if got := s.count(`SELECT count(*) FROM devices WHERE lot_no = $1`, int64(p.LotNo)); got != made[i] {
				t.Errorf("%d devices of lot %d, made %v", got, p.LotNo, made)
			}
		}
	})
}

func TestAnImportRacesARecallOfItsLot(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		const n, size = 4, 10
		for round := range uint32(rounds) {
			at := s.listed(100+round, fmt.Sprintf("i%d", round), n*size)
			all := chunks(at.LotNo, n, size, false)
			for i := range all { // each round has devices of its own
				for j := range all[i].Candidates {
					all[i].Candidates[j].Device.UID[4] = byte(round)
				}
			}
			var applied int
			errs := atOnce(t.Context(), 2, func(ctx context.Context, i int) error {
				if i == 1 {
					_, err := s.UpdateLot(ctx, "acme", at.LotNo, func(old lot.Lot) (lot.Lot, []lot.Event, error) { return old.Recall("fire", operator, noon) })
					return err
				}
				for together := range slices.Chunk(all, 2) {
					acks, err := s.ApplyChunks(ctx, at, together, acme, noon)
					applied += len(acks)
					if err != nil {
						return err
					}
				}
				return nil
			})
			if errs[1] != nil {
				t.Fatal(errs[1])
			}
			if applied != n || errs[0] != nil {
				wantReason(t, errs[0], "LOT_RECALLED")
			}
			entries, err := s.EntriesOf(t.Context(), fmt.Sprintf("lots/acme/%d", at.LotNo), 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]string{lot.Created}, slices.Repeat([]string{lot.Imported}, applied)...)
			var got []string
			for _, e := range entries {
				got = append(got, e.Action)
			}
			if diff := cmp.Diff(append(want, lot.Recalled), got); diff != "" {
				t.Error(diff)
			}
			if made := s.count(`SELECT count(*) FROM devices WHERE lot_no = $1`, int64(at.LotNo)); made != applied*size {
				t.Errorf("%d devices of %d chunks", made, applied)
			}
		}
	})
}
