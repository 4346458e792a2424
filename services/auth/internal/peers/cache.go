package peers

import (
	"context"
	"strings"
	"sync"
	"time"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

const (
	// believed is how long an answer counts after the registry last said that all changes were told: what a stream that was
	// cut keeps from us is worth no more than that.
	believed = 30 * time.Second
	// maxRemembered bounds the memory, at some 400 bytes a device. Devices beyond it are asked for each time.
	maxRemembered = 1 << 20
)

// Cache answers what the registry would from what its watch told. It remembers devices that may pay, and answers only while
// the watch lives; whatever else is asked, the registry is. It is safe for concurrent use.
//
// An answer that was asked for is remembered only if nothing was told meanwhile: else an old answer could take the place
// of a newer one.
type Cache struct {
	*Registry
	now func() time.Time

	mu       sync.RWMutex
	devices  map[wire.UID]answer
	accounts map[string]wire.UID // whose device, the one bound last, is among the devices
	told     uint64              // counts what the watch told
	// received is when the registry last said that all was told, and asOf up to when by its own clock; zero when the watch
	// does not live. Of two clocks that differ the one that ends the trust sooner counts.
	received, asOf time.Time
}

var _ challenge.Devices = (*Cache)(nil)

// NewCache makes a Cache that a [Watch] has to keep.
func NewCache(registry *Registry, now func() time.Time) *Cache {
	return &Cache{Registry: registry, now: now, devices: map[wire.UID]answer{}, accounts: map[string]wire.UID{}}
}

// ByUID implements challenge.Devices.
func (c *Cache) ByUID(ctx context.Context, uid wire.UID) (challenge.Device, error) {
	return c.look(ctx, byUID(uid), func() (answer, bool) {
		a, ok := c.devices[uid]
		return a, ok
	}, func(answer) {})
}

// ByAccount implements challenge.Devices.
func (c *Cache) ByAccount(ctx context.Context, account string) (challenge.Device, error) {
	return c.look(ctx, byAccount(account), func() (answer, bool) {
		uid, ok := c.accounts[account]
		return c.devices[uid], ok
	}, func(a answer) { c.accounts[account] = a.UID })
}

// look finds an answer or asks for it.
func (c *Cache) look(ctx context.Context, in *devicesv1.CheckDeviceRequest, find func() (answer, bool), keep func(answer)) (challenge.Device, error) {
	now := c.now()
	c.mu.RLock()
	a, found := find()
	lives, told := c.lives(now), c.told
	c.mu.RUnlock()
	if found && lives && (a.recheck.IsZero() || now.Before(a.recheck)) {
		return a.Device, nil
	}
	a, err := c.ask(ctx, in)
	if err != nil {
		return challenge.Device{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if lives && c.told == told && c.remember(a) {
		keep(a)
	}
	return a.Device, nil
}

// lives says whether what is remembered counts.
func (c *Cache) lives(now time.Time) bool {
	return !c.received.IsZero() && now.Sub(c.received) < believed && now.Sub(c.asOf) < believed
}

// remember keeps a device that may pay. What was remembered of the device or its account ends.
func (c *Cache) remember(a answer) bool {
	c.drop(a.UID)
	delete(c.accounts, a.Account)
	if a.Block != challenge.NotBlocked || len(c.devices) >= maxRemembered {
		return false
	}
	c.devices[a.UID] = a
	return true
}

func (c *Cache) drop(uid wire.UID) {
	if a, ok := c.devices[uid]; ok {
		if c.accounts[a.Account] == uid {
			delete(c.accounts, a.Account)
		}
		delete(c.devices, uid)
	}
}

// changed takes in what the watch tells of one device.
func (c *Cache) changed(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	c.remember(a)
}

// changedAll forgets the devices of a lot or a model.
func (c *Cache) changedAll(of func(answer) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	for uid, a := range c.devices {
		if of(a) {
			c.drop(uid)
		}
	}
}

// synced takes in that everything up to asOf was told.
func (c *Cache) synced(asOf time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received, c.asOf = c.now(), asOf
}

// broken is for when the watch ends: nothing counts until it lives again. When it will begin anew nothing is left.
func (c *Cache) broken(anew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	c.received, c.asOf = time.Time{}, time.Time{}
	if anew {
		clear(c.devices)
		clear(c.accounts)
	}
}

// forget is for the service's own changes, which count at once, whatever the watch tells when.
func (c *Cache) forget(device, account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	if uid, err := wire.ParseUID(device[strings.LastIndexByte(device, '/')+1:]); err == nil {
		c.drop(uid)
	}
	delete(c.accounts, account)
}

// ConfirmBinding implements challenge.Devices.
func (c *Cache) ConfirmBinding(ctx context.Context, id wire.BindingID) error {
	b, err := c.confirmBinding(ctx, id)
	c.forget(b.GetDevice(), b.GetAccount())
	return err
}

// CompleteTransfer implements challenge.Devices.
func (c *Cache) CompleteTransfer(ctx context.Context, id wire.BindingID, code string) error {
	b, err := c.completeTransfer(ctx, id, code)
	c.forget(b.GetDevice(), b.GetAccount())
	return err
}

// ReleaseBinding implements challenge.Devices.
func (c *Cache) ReleaseBinding(ctx context.Context, id wire.BindingID, account, proof string) error {
	b, err := c.releaseBinding(ctx, id, account, proof)
	c.forget(b.GetDevice(), account)
	return err
}

// SuspendClone implements challenge.Devices.
func (c *Cache) SuspendClone(ctx context.Context, device, requestID, note string) error {
	err := c.Registry.SuspendClone(ctx, device, requestID, note)
	c.forget(device, "")
	return err
}
