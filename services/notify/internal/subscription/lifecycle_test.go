package subscription

import (
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func hook() Subscription {
	return Subscription{
		Partner: "acme", ID: "hook", Filters: []string{"live.>"}, Sink: Webhook, State: Active, URL: "https://example.com/",
		Signature: Ed25519, Keys: []KeyRef{{Name: "first"}}, CreatedAt: noon, UpdatedAt: noon,
	}
}

func TestADisabledSubscriptionIsNotPausedButResumed(t *testing.T) {
	s := hook().Disable(ReasonGone, noon)
	if _, err := s.Pause(noon); fault.ReasonOf(err) != "SUBSCRIPTION_STATE" {
		t.Errorf("pause: %v", err)
	}
	s, err := s.Resume("https://example.com/new", noon.Add(time.Second))
	if err != nil || s.State != Active || s.DisableReason != "" || s.URL != "https://example.com/new" {
		t.Errorf("resume: %+v, %v", s, err)
	}
}

func TestAWebhookThatTakesNothingForFiveDaysIsDisabled(t *testing.T) {
	s := hook().Failed(noon)
	if s = s.Failed(noon.Add(failingLimit - time.Second)); s.State != Active {
		t.Fatalf("too early: %+v", s)
	}
	if again := s.Succeeded().Failed(noon.Add(failingLimit)); again.State != Active || !again.FailingSince.Equal(noon.Add(failingLimit)) {
		t.Errorf("a success in between: %+v", again)
	}
	if s = s.Failed(noon.Add(failingLimit)); s.State != Disabled || s.DisableReason != ReasonFailing {
		t.Errorf("after five days: %+v", s)
	}
}

func TestARotatedKeySignsForADayLonger(t *testing.T) {
	s, err := hook().Rotate("second", noon)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]int{0: 2, keyOverlap - 1: 2, keyOverlap: 1} {
		if keys := s.SigningKeys(noon.Add(at)); len(keys) != want || keys[0].Name != "second" {
			t.Errorf("after %s: %v", at, keys)
		}
	}
	for range 5 {
		if s, err = s.Rotate("more", noon); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.SigningKeys(noon)) != maxKeys {
		t.Errorf("%d keys sign", len(s.SigningKeys(noon)))
	}
	if _, err := (Subscription{Sink: NATS}).Rotate("x", noon); fault.ReasonOf(err) != "SUBSCRIPTION_SINK" {
		t.Errorf("no webhook: %v", err)
	}
}

func TestAReplayBeginsAnewAndNotInTheFuture(t *testing.T) {
	s, err := hook().Replay(noon.Add(-time.Hour), noon)
	if err != nil || s.Round != 1 || !s.Start.Equal(noon.Add(-time.Hour)) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := hook().Replay(noon.Add(time.Hour), noon); fault.ReasonOf(err) != fault.ReasonInvalidField {
		t.Errorf("future: %v", err)
	}
}

func TestDeliveriesAreTriedOnScheduleAndThenDead(t *testing.T) {
	d, at := Delivery{}, noon
	for i, pause := range Retries {
		d = d.After(Outcome{Error: "answered 500"}, Retries, 0, at)
		if d.Dead() || d.Attempts != i+1 || d.NextAt.Sub(at) != pause {
			t.Fatalf("try %d: %+v", i+1, d)
		}
		at = d.NextAt
	}
	if d = d.After(Outcome{Error: "answered 500"}, Retries, 0, at); !d.Dead() || d.LastError != "answered 500" {
		t.Fatalf("after the last try: %+v", d)
	}
	if d = d.Redriven(at); d.Dead() || d.Attempts != 0 || !d.NextAt.Equal(at) {
		t.Errorf("redriven: %+v", d)
	}
	for _, c := range []struct {
		asked  time.Duration
		jitter float64
		want   time.Duration
	}{{time.Hour, 0, time.Hour}, {time.Second, 0, 5 * time.Second}, {1000 * time.Hour, 0, maxRetryAfter}, {0, 0.5, 5250 * time.Millisecond}} {
		if got := (Delivery{}).After(Outcome{RetryAfter: c.asked}, Retries, c.jitter, noon).NextAt.Sub(noon); got != c.want {
			t.Errorf("asked %s, jitter %v: %s, want %s", c.asked, c.jitter, got, c.want)
		}
	}
}

// Known answers: v1 is the one that the Standard Webhooks libraries test with, v1a that of the Svix server's tests; the
// specification's own example of a header shows the latter.
func TestSignaturesAreThoseOfTheSpecification(t *testing.T) {
	for _, tc := range []struct {
		how         Signature
		key, public string
		want        string
	}{
		{HMAC, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		{
			Ed25519, "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
			"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
		},
	} {
		key, err := base64.StdEncoding.DecodeString(tc.key)
		if err != nil {
			t.Fatal(err)
		}
		got := Sign(tc.how, [][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
		if got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
		if tc.public != "" && PublicKey(key) != tc.public {
			t.Errorf("the public key is %s, want %s", PublicKey(key), tc.public)
		}
	}
	// Two keys while one replaces the other: both sign, the newest first.
	old, fresh := make([]byte, SeedBytes), append(make([]byte, SeedBytes-1), 1)
	both := Sign(Ed25519, [][]byte{fresh, old}, "id", time.Unix(1, 0), nil)
	if want := Sign(Ed25519, [][]byte{fresh}, "id", time.Unix(1, 0), nil) + " " + Sign(Ed25519, [][]byte{old}, "id", time.Unix(1, 0), nil); both != want {
		t.Errorf("got %s, want %s", both, want)
	}
}

func TestOnlyPublicAddressesArePublic(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"fe80::1": false, "fd00::1": false, "100.64.0.1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v", text, got)
		}
	}
}

func TestOnlyHTTPSOfAPublicHostIsAWebhook(t *testing.T) {
	for url, want := range map[string]bool{
		"https://example.com/hook?x=1": true, "https://93.184.216.34:8443/": true,
		"http://example.com/": false, "https://user:pw@example.com/": false, "https://example.com/#top": false, "example.com": false,
		"https://localhost/": false, "https://a.localhost/": false, "https://127.0.0.1/": false, "https://[::1]/": false, "https://10.0.0.1/": false,
		"ftp://example.com/": false, "https://": false, "mailto:a@b.c": false,
	} {
		if err := CheckURL(url, false); (err == nil) != want {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := CheckURL("http://127.0.0.1:8080/", true); err != nil {
		t.Errorf("loopback allowed: %v", err)
	}
	if err := CheckURL("http://10.0.0.1/", true); err == nil {
		t.Error("a private address is accepted where loopback is allowed")
	}
}
