package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
)

// MasterLen is the length of a partner's master key in bytes.
const MasterLen = 32

// Ring opens keys and works with them; no secret leaves it but by [Ring.Master] and, encrypted, by [Ring.Export].
// It is safe for concurrent use.
type Ring struct {
	store     Store
	kek       KEK
	pseudonym []byte
	imports   *ecdsa.PrivateKey
	signing   atomic.Pointer[signing]

	mu      sync.RWMutex
	masters map[masterID][]byte
}

// signing is what tokens are signed and verified with at one time.
type signing struct {
	signer jose.SigningKey
	public jose.JSONWebKeySet
}

type masterID struct {
	partner string
	epoch   int
}

// Open loads the installation's own keys and makes them when there are none.
func Open(ctx context.Context, store Store, kek KEK, now time.Time) (*Ring, error) {
	r := &Ring{store: store, kek: kek, masters: map[masterID][]byte{}}
	var err error
	if r.pseudonym, err = r.loadOrMake(ctx, Pseudonym, now); err != nil {
		return nil, err
	}
	seed, err := r.loadOrMake(ctx, Import, now)
	if err != nil {
		return nil, err
	}
	if r.imports, err = p256From(seed); err != nil {
		return nil, err
	}
	if _, err := r.loadOrMake(ctx, Signing, now); err != nil {
		return nil, err
	}
	return r, r.Refresh(ctx)
}

// loadOrMake is the secret of the first key of a purpose.
func (r *Ring) loadOrMake(ctx context.Context, purpose Purpose, now time.Time) ([]byte, error) {
	rows, err := r.store.Keys(ctx, purpose, "")
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		row, err := r.newRow(purpose, "", 1, now)
		if err != nil {
			return nil, err
		}
		if row, err = r.store.InsertKey(ctx, row); err != nil {
			return nil, err
		}
		rows = []Row{row}
	}
	if purpose == Signing {
		return nil, nil // see Refresh
	}
	return r.open(rows[0])
}

// Refresh reads the signing keys again, which this or another process may have changed. When one does not open the ring
// goes on with what it has.
func (r *Ring) Refresh(ctx context.Context) error {
	rows, err := r.store.Keys(ctx, Signing, "")
	if err != nil {
		return err
	}
	next := &signing{}
	for _, row := range rows {
		if !row.State.usable() {
			continue
		}
		jwk := jose.JSONWebKey{Key: ed25519.PublicKey(row.Public), KeyID: kidOf(row.Public), Algorithm: string(jose.EdDSA), Use: "sig"}
		next.public.Keys = append(next.public.Keys, jwk)
		if row.State != Active {
			continue
		}
		seed, err := r.open(row)
		if err != nil {
			return err
		}
		if len(seed) != ed25519.SeedSize {
			return fmt.Errorf("keys: signing key %d has the wrong length", row.Epoch)
		}
		jwk.Key = ed25519.NewKeyFromSeed(seed)
		next.signer = jose.SigningKey{Algorithm: jose.EdDSA, Key: jwk}
	}
	if next.signer.Key == nil {
		return errors.New("keys: no signing key is active")
	}
	r.signing.Store(next)
	return nil
}

// kidOf names a signing key by its RFC 7638 thumbprint.
func kidOf(public []byte) string {
	jwk := jose.JSONWebKey{Key: ed25519.PublicKey(public)}
	sum, err := jwk.Thumbprint(sha256Hash)
	if err != nil {
		return ""
	}
	return thumbprintText(sum)
}

// NewMaster is a fresh master key, not yet stored.
func (r *Ring) NewMaster(partner string, epoch int, now time.Time) (Row, error) {
	return r.newRow(Master, partner, epoch, now)
}

func (r *Ring) newRow(purpose Purpose, partner string, epoch int, now time.Time) (Row, error) {
	secret := make([]byte, MasterLen) // an Ed25519 seed has the same length
	if _, err := rand.Read(secret); err != nil {
		return Row{}, fmt.Errorf("keys: random: %w", err)
	}
	defer clear(secret)
	row := Row{ID: NewID(), Purpose: purpose, Partner: partner, Epoch: epoch, State: Active, CreatedAt: now, ChangedAt: now}
	if purpose == Signing {
		row.Public = ed25519.NewKeyFromSeed(secret)[ed25519.SeedSize:] // RFC 8032: seed, then public key
	}
	return r.seal(row, secret)
}

// seal puts the secret into the row.
func (r *Ring) seal(row Row, secret []byte) (Row, error) {
	sealed, err := r.kek.Encrypt(secret, row.associatedData())
	if err != nil {
		return Row{}, fmt.Errorf("keys: seal a new %s key: %w", row.Purpose, err)
	}
	row.Sealed = sealed
	return row, nil
}

func (r *Ring) open(row Row) ([]byte, error) {
	secret, err := r.kek.Decrypt(row.Sealed, row.associatedData())
	if err != nil {
		return nil, fmt.Errorf("keys: %s key %s does not open: is it the right key file, and was the row changed? %w", row.Purpose, row.ID, err)
	}
	return secret, nil
}

// Master is the partner's master key of an epoch, 32 bytes that the caller must not change. The state is read every time,
// so that tainting a key stops its devices at once. It fails with MASTER_KEY_NOT_FOUND and KEY_EPOCH_TAINTED.
func (r *Ring) Master(ctx context.Context, partner string, epoch int) ([]byte, error) {
	state, err := r.store.KeyState(ctx, Master, partner, epoch)
	if err != nil {
		return nil, err
	}
	return r.MasterIn(ctx, partner, epoch, state)
}

// MasterIn is Master for who has just read the key's state; empty is that of a key that does not exist.
func (r *Ring) MasterIn(ctx context.Context, partner string, epoch int, state State) ([]byte, error) {
	id := masterID{partner, epoch}
	if state == "" {
		return nil, ErrNotFound
	}
	if !state.usable() {
		r.mu.Lock()
		delete(r.masters, id)
		r.mu.Unlock()
		return nil, ErrTainted
	}
	r.mu.RLock()
	secret := r.masters[id]
	r.mu.RUnlock()
	if secret != nil {
		return secret, nil
	}
	row, err := r.store.Key(ctx, Master, partner, epoch)
	if err != nil {
		return nil, err
	}
	if secret, err = r.open(row); err != nil {
		return nil, err
	}
	if len(secret) != MasterLen {
		return nil, fmt.Errorf("keys: master key %s has the wrong length", row.ID)
	}
	r.mu.Lock()
	r.masters[id] = secret
	r.mu.Unlock()
	return secret, nil
}

var errRecipient = fault.New(fault.Invalid, "KEY_INVALID",
	"the recipient's key is not a public EC JWK on P-256").WithField("recipient_jwk")

// recipientKey is the public key of whom a master key is for.
type recipientKey struct {
	Key *ecdsa.PublicKey
	ID  string // as its owner calls it; may be empty
}

// recipient reads a P-256 JWK. It fails with KEY_INVALID.
func recipient(text string) (recipientKey, error) {
	var to jose.JSONWebKey
	if err := to.UnmarshalJSON([]byte(text)); err != nil || !to.IsPublic() || !to.Valid() {
		return recipientKey{}, errRecipient
	}
	point, ok := to.Key.(*ecdsa.PublicKey)
	if !ok || point.Curve != elliptic.P256() {
		return recipientKey{}, errRecipient
	}
	return recipientKey{point, to.KeyID}, nil
}

// Export is the partner's master key as a JWE in compact form (RFC 7516) for the holder of a P-256 key. It fails with
// MASTER_KEY_NOT_FOUND and KEY_INVALID.
func (r *Ring) Export(ctx context.Context, partner string, epoch int, recipientJWK string) (string, error) {
	to, err := recipient(recipientJWK)
	if err != nil {
		return "", err
	}
	secret, err := r.Master(ctx, partner, epoch)
	if err != nil {
		return "", err
	}
	options := (&jose.EncrypterOptions{}).WithContentType("application/octet-stream").
		WithHeader("partner", partner).WithHeader("key_epoch", epoch)
	encrypter, err := jose.NewEncrypter(jose.A256GCM,
		jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: to.Key, KeyID: to.ID}, options)
	if err != nil {
		return "", fmt.Errorf("keys: export: %w", err)
	}
	jwe, err := encrypter.Encrypt(secret)
	if err != nil {
		return "", fmt.Errorf("keys: export: %w", err)
	}
	return jwe.CompactSerialize()
}

// Sign makes a JWS (RFC 7515, EdDSA) in compact form over claims in JSON, with a header typ.
func (r *Ring) Sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	signer, err := jose.NewSigner(r.signing.Load().signer, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	return jws.CompactSerialize()
}

// JWKS is the set of public keys that verify what Sign made (RFC 7517).
func (r *Ring) JWKS() ([]byte, error) {
	return json.Marshal(r.signing.Load().public)
}

// AccountRef is the pseudonym of an account in the device protocol.
func (r *Ring) AccountRef(account string) [16]byte {
	mac := hmac.New(sha256.New, r.pseudonym)
	mac.Write([]byte(account))
	return [16]byte(mac.Sum(nil))
}

// Handle stands for something that can be taken back in a list that is open to all: it names the thing to whoever has it in
// a token, and tells nobody else which it is.
func (r *Ring) Handle(kind, id string) string {
	mac := hmac.New(sha256.New, r.pseudonym)
	mac.Write([]byte("revocation\x00" + kind + "\x00" + id))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// List is what may be told of the keys of a partner, or of the installation itself.
func (r *Ring) List(ctx context.Context, purpose Purpose, partner string) ([]Info, error) {
	rows, err := r.store.Keys(ctx, purpose, partner)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(rows))
	for _, row := range rows {
		infos = append(infos, row.Info())
	}
	return infos, nil
}
