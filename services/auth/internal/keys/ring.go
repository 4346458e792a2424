package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
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
	signer    jose.SigningKey
	public    jose.JSONWebKeySet
	pseudonym []byte

	mu      sync.RWMutex
	masters map[masterID][]byte
}

type masterID struct {
	partner string
	epoch   int
}

// Open loads the installation's signing and pseudonym keys and makes them when there are none.
func Open(ctx context.Context, store Store, kek KEK, now time.Time) (*Ring, error) {
	r := &Ring{store: store, kek: kek, masters: map[masterID][]byte{}}
	pseudonyms, err := r.loadOrMake(ctx, Pseudonym, now)
	if err != nil {
		return nil, err
	}
	if r.pseudonym, err = r.open(pseudonyms[0]); err != nil {
		return nil, err
	}
	rows, err := r.loadOrMake(ctx, Signing, now)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		seed, err := r.open(row)
		if err != nil {
			return nil, err
		}
		if len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("keys: signing key %d has the wrong length", row.Epoch)
		}
		if err := r.addSigner(ed25519.NewKeyFromSeed(seed)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Ring) loadOrMake(ctx context.Context, purpose Purpose, now time.Time) ([]Row, error) {
	rows, err := r.store.Keys(ctx, purpose)
	if err != nil || len(rows) > 0 {
		return rows, err
	}
	row, err := r.newRow(purpose, "", 1, now)
	if err != nil {
		return nil, err
	}
	if row, err = r.store.InsertKey(ctx, row); err != nil {
		return nil, err
	}
	return []Row{row}, nil
}

// addSigner makes the key the one that signs; the earlier ones only verify.
func (r *Ring) addSigner(key ed25519.PrivateKey) error {
	jwk := jose.JSONWebKey{Key: key, Algorithm: string(jose.EdDSA), Use: "sig"}
	thumb, err := jwk.Thumbprint(sha256Hash)
	if err != nil {
		return fmt.Errorf("keys: name a signing key: %w", err)
	}
	jwk.KeyID = thumbprintText(thumb)
	r.signer = jose.SigningKey{Algorithm: jose.EdDSA, Key: jwk}
	r.public.Keys = append(r.public.Keys, jwk.Public())
	return nil
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
	row := Row{ID: NewID(), Purpose: purpose, Partner: partner, Epoch: epoch, State: Active, CreatedAt: now}
	if purpose == Signing {
		row.Public = ed25519.NewKeyFromSeed(secret)[ed25519.SeedSize:] // RFC 8032: seed, then public key
	}
	sealed, err := r.kek.Encrypt(secret, row.associatedData())
	if err != nil {
		return Row{}, fmt.Errorf("keys: seal a new %s key: %w", purpose, err)
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

// Master is the partner's master key of an epoch, 32 bytes that the caller must not change. It fails with
// MASTER_KEY_NOT_FOUND.
func (r *Ring) Master(ctx context.Context, partner string, epoch int) ([]byte, error) {
	id := masterID{partner, epoch}
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

// Export is the partner's master key as a JWE in compact form (RFC 7516) for the holder of a P-256 key. It fails with
// MASTER_KEY_NOT_FOUND and KEY_INVALID.
func (r *Ring) Export(ctx context.Context, partner string, epoch int, recipientJWK string) (string, error) {
	var to jose.JSONWebKey
	if err := to.UnmarshalJSON([]byte(recipientJWK)); err != nil || !to.IsPublic() || !to.Valid() {
		return "", errRecipient
	}
	point, ok := to.Key.(*ecdsa.PublicKey)
	if !ok || point.Curve != elliptic.P256() {
		return "", errRecipient
	}
	secret, err := r.Master(ctx, partner, epoch)
	if err != nil {
		return "", err
	}
	options := (&jose.EncrypterOptions{}).WithContentType("application/octet-stream").
		WithHeader("partner", partner).WithHeader("key_epoch", epoch)
	encrypter, err := jose.NewEncrypter(jose.A256GCM,
		jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: point, KeyID: to.KeyID}, options)
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
	signer, err := jose.NewSigner(r.signer, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
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
	if len(r.public.Keys) == 0 {
		return nil, errors.New("keys: no signing key is loaded")
	}
	return json.Marshal(r.public)
}

// AccountRef is the pseudonym of an account in the device protocol.
func (r *Ring) AccountRef(account string) [16]byte {
	mac := hmac.New(sha256.New, r.pseudonym)
	mac.Write([]byte(account))
	return [16]byte(mac.Sum(nil))
}
