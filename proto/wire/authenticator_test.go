package wire_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	"slices"
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

// flips calls check with b changed in one bit, for every bit of every byte.
func flips(b []byte, check func(bit int, changed []byte)) {
	for bit := range len(b) * 8 {
		changed := slices.Clone(b)
		changed[bit/8] ^= 1 << (bit % 8)
		check(bit, changed)
	}
}

func TestEveryFlippedBitOfAChallengeIsRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		open := func(uid wire.UID, frame []byte) error {
			c, tag, err := wire.ParseChallenge(frame)
			if err != nil {
				return err
			}
			return wire.VerifyChallengeTag(d.keys.Chal, uid, c, tag)
		}
		frame := join(d.Challenge, d.ChallengeTag)
		if err := open(d.uid, frame); err != nil {
			t.Fatal(err)
		}
		flips(frame, func(bit int, changed []byte) {
			if open(d.uid, changed) == nil {
				t.Errorf("bit %d of byte %d flipped is accepted", bit%8, bit/8)
			}
		})
		flips(d.uid[:], func(bit int, changed []byte) {
			if err := open(wire.UID(changed), frame); !errors.Is(err, wire.ErrBadTag) {
				t.Errorf("another device, bit %d: %v", bit, err)
			}
		})
	})
}

func TestEveryFlippedBitOfAResponseIsRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		open := func(uid wire.UID, stored, frame []byte) error {
			c, err := wire.ParseChallengeBody(stored)
			if err != nil {
				return err
			}
			r, auth, err := wire.ParseResponse(frame)
			if err != nil {
				return err
			}
			return wire.VerifyResponse(d.verifier, uid, c, r, auth)
		}
		frame := join(d.ResponseBody, d.ResponseAuth)
		if err := open(d.uid, d.Challenge, frame); err != nil {
			t.Fatal(err)
		}
		flips(frame, func(bit int, changed []byte) {
			if open(d.uid, d.Challenge, changed) == nil {
				t.Errorf("response: bit %d of byte %d flipped is accepted", bit%8, bit/8)
			}
		})
		flips(d.Challenge, func(bit int, changed []byte) {
			if open(d.uid, changed, frame) == nil {
				t.Errorf("challenge: bit %d of byte %d flipped is accepted", bit%8, bit/8)
			}
		})
		flips(d.uid[:], func(bit int, changed []byte) {
			if err := open(wire.UID(changed), d.Challenge, frame); !errors.Is(err, wire.ErrBadAuthenticator) {
				t.Errorf("another device, bit %d: %v", bit, err)
			}
		})
	})
}

func TestEveryFlippedBitOfAResultIsRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		c := must(wire.ParseChallengeBody(d.Challenge))(t)
		result := aResult()
		result.Suite = d.Suite
		frame := must(wire.SealResult(d.keys.Rslt, d.uid, c.Nonce, result))(t)
		open := func(uid wire.UID, nonce wire.Nonce, frame []byte) error {
			r, tag, err := wire.ParseResult(frame)
			if err != nil {
				return err
			}
			return wire.VerifyResultTag(d.keys.Rslt, uid, nonce, r, tag)
		}
		if err := open(d.uid, c.Nonce, frame); err != nil {
			t.Fatal(err)
		}
		flips(frame, func(bit int, changed []byte) {
			if open(d.uid, c.Nonce, changed) == nil {
				t.Errorf("bit %d of byte %d flipped is accepted", bit%8, bit/8)
			}
		})
		flips(c.Nonce[:], func(bit int, changed []byte) {
			if err := open(d.uid, wire.Nonce(changed), frame); !errors.Is(err, wire.ErrBadTag) {
				t.Errorf("another challenge, bit %d: %v", bit, err)
			}
		})
		flips(d.uid[:], func(bit int, changed []byte) {
			if err := open(wire.UID(changed), c.Nonce, frame); !errors.Is(err, wire.ErrBadTag) {
				t.Errorf("another device, bit %d: %v", bit, err)
			}
		})
	})
}

func TestEveryFlippedBitOfAnOfflineTapIsRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		open := func(uid wire.UID, terminal, frame []byte) error {
			tap, err := wire.ParseTerminalTap(terminal)
			if err != nil {
				return err
			}
			o, auth, err := wire.ParseOfflineTap(frame)
			if err != nil {
				return err
			}
			return wire.VerifyOffline(d.verifier, uid, tap, o, auth)
		}
		frame := join(d.OfflineBody, d.OfflineAuth)
		if err := open(d.uid, d.Terminal, frame); err != nil {
			t.Fatal(err)
		}
		flips(frame, func(bit int, changed []byte) {
			if open(d.uid, d.Terminal, changed) == nil {
				t.Errorf("tap: bit %d of byte %d flipped is accepted", bit%8, bit/8)
			}
		})
		flips(d.Terminal, func(bit int, changed []byte) {
			if open(d.uid, changed, frame) == nil {
				t.Errorf("terminal: bit %d of byte %d flipped is accepted", bit%8, bit/8)
			}
		})
		flips(d.uid[:], func(bit int, changed []byte) {
			if err := open(wire.UID(changed), d.Terminal, frame); !errors.Is(err, wire.ErrBadAuthenticator) {
				t.Errorf("another device, bit %d: %v", bit, err)
			}
		})
	})
}

func TestEveryFlippedBitOfARoundIsRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		c := must(wire.ParseChallengeBody(d.Challenge))(t)
		r, _, err := wire.ParseResponse(join(d.ResponseBody, d.ResponseAuth))
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Rounds {
			flips(join(r.Rounds[i].BandNonce[:], r.Rounds[i].Answer[:]), func(bit int, changed []byte) {
				rounds := slices.Clone(r.Rounds)
				rounds[i] = wire.Round{BandNonce: [4]byte(changed), Answer: [4]byte(changed[4:])}
				if err := wire.VerifyRounds(d.pongKey, c.Nonce, rounds); !errors.Is(err, wire.ErrBadRound) {
					t.Errorf("round %d, bit %d: %v", i, bit, err)
				}
			})
		}
		swapped := slices.Clone(r.Rounds)
		slices.Reverse(swapped)
		if err := wire.VerifyRounds(d.pongKey, c.Nonce, swapped); !errors.Is(err, wire.ErrBadRound) {
			t.Errorf("rounds in another order: %v", err)
		}
	})
}

func TestRoundsAreRefusedWithoutKeyOrRounds(t *testing.T) {
	k := key(t, make([]byte, 16))
	for _, tt := range []struct {
		name   string
		key    wire.Key
		rounds int
		want   error
	}{
		{"none", k, 0, wire.ErrRounds}, {"five", k, 5, wire.ErrRounds}, {"no key", wire.Key{}, 1, wire.ErrKey},
	} {
		if err := wire.VerifyRounds(tt.key, wire.Nonce{}, make([]wire.Round, tt.rounds)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := wire.PongAnswer(k, wire.Nonce{}, wire.MaxRounds, [4]byte{}); !errors.Is(err, wire.ErrRounds) {
		t.Errorf("index beyond the last round: %v", err)
	}
}

// A frame of one suite, direction or purpose must not pass for another.
func TestKeysAndSuitesAreNotInterchangeable(t *testing.T) {
	_, devices := load(t)
	for _, d := range devices {
		c := must(wire.ParseChallengeBody(d.Challenge))(t)
		r, auth, err := wire.ParseResponse(join(d.ResponseBody, d.ResponseAuth))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range devices {
			if other.Suite == d.Suite {
				continue
			}
			if err := wire.VerifyResponse(other.verifier, d.uid, c, r, auth); !errors.Is(err, wire.ErrSuiteMismatch) {
				t.Errorf("%v response with the verifier of %v: %v", d.Suite, other.Suite, err)
			}
			otherChallenge := c
			otherChallenge.Suite = other.Suite
			if err := wire.VerifyResponse(d.verifier, d.uid, otherChallenge, r, auth); !errors.Is(err, wire.ErrSuiteMismatch) {
				t.Errorf("%v response to a challenge of %v: %v", d.Suite, other.Suite, err)
			}
			if _, err := wire.SignResponse(other.signer, d.uid, c, r); !errors.Is(err, wire.ErrSuiteMismatch) {
				t.Errorf("signing for %v with the signer of %v: %v", d.Suite, other.Suite, err)
			}
		}
		tag := must(wire.TagChallenge(d.keys.Chal, d.uid, c))(t)
		for _, k := range []wire.Key{d.keys.Resp, d.keys.Offl, d.keys.Rslt} {
			if err := wire.VerifyChallengeTag(k, d.uid, c, tag); !errors.Is(err, wire.ErrBadTag) {
				t.Errorf("%v: challenge under another key: %v", d.Suite, err)
			}
		}
	}
}

func TestZeroSignerAndVerifierDoNothing(t *testing.T) {
	c, r, tap, o := aChallenge(), aResponse(), aTerminalTap(), anOfflineTap()
	if _, err := wire.SignResponse(wire.Signer{}, wire.UID{}, c, r); !errors.Is(err, wire.ErrSuiteMismatch) {
		t.Errorf("zero signer: %v", err)
	}
	for _, v := range []wire.Verifier{{}, wire.Credential{}.Verifier()} {
		if err := wire.VerifyResponse(v, wire.UID{}, c, r, make([]byte, 16)); !errors.Is(err, wire.ErrSuiteMismatch) {
			t.Errorf("zero verifier: %v", err)
		}
	}
	empty := must(wire.NewSigner(wire.SuiteHMAC, wire.SessionKeys{}))(t)
	if _, err := wire.SignOffline(empty, wire.UID{}, tap, o); !errors.Is(err, wire.ErrKey) {
		t.Errorf("signer without keys: %v", err)
	}
	blank := must(wire.NewVerifier(wire.SuiteHMAC, wire.SessionKeys{}))(t)
	if err := wire.VerifyOffline(blank, wire.UID{}, tap, o, make([]byte, 16)); !errors.Is(err, wire.ErrKey) {
		t.Errorf("verifier without keys: %v", err)
	}
	if _, err := wire.TagChallenge(wire.Key{}, wire.UID{}, c); !errors.Is(err, wire.ErrKey) {
		t.Errorf("tag without a key: %v", err)
	}
	for _, suite := range []wire.Suite{0, wire.SuiteP256, wire.SuiteEd25519, 5} {
		if _, err := wire.NewSigner(suite, wire.SessionKeys{}); !errors.Is(err, wire.ErrSuite) {
			t.Errorf("symmetric signer for %v: %v", suite, err)
		}
		if _, err := wire.NewVerifier(suite, wire.SessionKeys{}); !errors.Is(err, wire.ErrSuite) {
			t.Errorf("symmetric verifier for %v: %v", suite, err)
		}
	}
	if _, err := wire.NewPrivateSigner(nil); !errors.Is(err, wire.ErrKey) {
		t.Errorf("no private key: %v", err)
	}
}

func TestAuthenticatorsHaveExactlyTheirLength(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		c := must(wire.ParseChallengeBody(d.Challenge))(t)
		r, auth, err := wire.ParseResponse(join(d.ResponseBody, d.ResponseAuth))
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range [][]byte{nil, auth[:len(auth)-1], append(slices.Clone(auth), 0), auth[:8]} {
			if err := wire.VerifyResponse(d.verifier, d.uid, c, r, bad); !errors.Is(err, wire.ErrLength) {
				t.Errorf("%d bytes: %v", len(bad), err)
			}
		}
	})
}

func TestECDSAScalarsAreInRange(t *testing.T) {
	_, devices := load(t)
	d := devices[slices.IndexFunc(devices, func(d device) bool { return d.Suite == wire.SuiteP256 })]
	c := must(wire.ParseChallengeBody(d.Challenge))(t)
	r, auth, err := wire.ParseResponse(join(d.ResponseBody, d.ResponseAuth))
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	zero, order := make([]byte, 32), n.FillBytes(make([]byte, 32))
	full := slices.Repeat([]byte{0xff}, 32)
	for name, bad := range map[string][]byte{
		"r = 0": join(zero, auth[32:]), "s = 0": join(auth[:32], zero), "both 0": make([]byte, 64),
		"r = n": join(order, auth[32:]), "s = n": join(auth[:32], order),
		"r = 2^256-1": join(full, auth[32:]), "s = 2^256-1": join(auth[:32], full),
	} {
		if err := wire.VerifyResponse(d.verifier, d.uid, c, r, bad); !errors.Is(err, wire.ErrBadAuthenticator) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The protocol does not ask for low s: n-s is as good as s.
	other := new(big.Int).Sub(n, new(big.Int).SetBytes(auth[32:]))
	if err := wire.VerifyResponse(d.verifier, d.uid, c, r, join(auth[:32], other.FillBytes(make([]byte, 32)))); err != nil {
		t.Errorf("the other s: %v", err)
	}
}

// element is a secure element that gives out what it is told to.
type element struct {
	public    crypto.PublicKey
	signature []byte
	err       error
}

func (e element) Public() crypto.PublicKey { return e.public }

func (e element) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return e.signature, e.err
}

func TestMalformedSignaturesOfASecureElementAreRefused(t *testing.T) {
	v, devices := load(t)
	p256, _ := privateKey(t, v, wire.SuiteP256)
	edwards, _ := privateKey(t, v, wire.SuiteEd25519)
	unplugged := errors.New("element unplugged")
	for _, tt := range []struct {
		name    string
		suite   wire.Suite
		element element
		want    error
	}{
		{"ECDSA error", wire.SuiteP256, element{p256.Public(), nil, unplugged}, unplugged},
		{"ECDSA raw", wire.SuiteP256, element{p256.Public(), make([]byte, 64), nil}, wire.ErrSigner},
		{"ECDSA zero", wire.SuiteP256, element{p256.Public(), []byte{0x30, 6, 2, 1, 0, 2, 1, 0}, nil}, wire.ErrSigner},
		{"ECDSA negative", wire.SuiteP256, element{p256.Public(), []byte{0x30, 6, 2, 1, 0x80, 2, 1, 1}, nil}, wire.ErrSigner},
		{"ECDSA trailing", wire.SuiteP256, element{p256.Public(), []byte{0x30, 6, 2, 1, 1, 2, 1, 1, 0}, nil}, wire.ErrSigner},
		{"Ed25519 error", wire.SuiteEd25519, element{edwards.Public(), nil, unplugged}, unplugged},
		{"Ed25519 short", wire.SuiteEd25519, element{edwards.Public(), make([]byte, 63), nil}, wire.ErrSigner},
	} {
		d := devices[slices.IndexFunc(devices, func(d device) bool { return d.Suite == tt.suite })]
		signer := must(wire.NewPrivateSigner(tt.element))(t)
		c := must(wire.ParseChallengeBody(d.Challenge))(t)
		r := wire.Response{Suite: tt.suite, MinRTT: wire.NoRTT}
		if _, err := wire.SealResponse(signer, d.uid, c, r); !errors.Is(err, tt.want) || !errors.Is(err, wire.ErrSigner) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestPrivateSignerRefusesUnfitKeys(t *testing.T) {
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	if _, err := wire.NewPrivateSigner(p384); !errors.Is(err, wire.ErrCredential) {
		t.Errorf("P-384: %v", err)
	}
	if _, err := wire.NewPrivateSigner(element{public: ed25519.PublicKey(make([]byte, 32))}); !errors.Is(err, wire.ErrCredential) {
		t.Errorf("small order: %v", err)
	}
}
