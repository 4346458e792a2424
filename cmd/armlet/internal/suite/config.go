package suite

import (
	"path/filepath"
	"time"

	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/services/auth"
	deviceregistry "github.com/armlet-pay/armlet/services/device-registry"
	"github.com/armlet-pay/armlet/services/notify"
	"github.com/armlet-pay/armlet/services/payments"
)

// serviceConfigs are the services' own configurations, pointed at the data folder
// and at each other.
type serviceConfigs struct {
	devices  deviceregistry.Config
	auth     auth.Config
	payments payments.Config
	notify   notify.Config
}

func (p ports) endpoints() sdk.Endpoints {
	issuer := "http://" + p.addr(p.http)
	return sdk.Endpoints{
		Devices: p.addr(p.devices), Auth: p.addr(p.auth), Payments: p.addr(p.payments), Notify: p.addr(p.notify),
		TokenURL: issuer + "/oauth2/token", JWKSURL: issuer + "/.well-known/jwks.json",
		NATSURL: "nats://" + p.addr(p.nats),
	}
}

func configs(dir string, p ports, at sdk.Endpoints) serviceConfigs {
	file := func(name string) string { return filepath.Join(dir, name) }
	issuer := "http://" + p.addr(p.http)
	c := serviceConfigs{deviceregistry.DefaultConfig(), auth.DefaultConfig(), payments.DefaultConfig(), notify.DefaultConfig()}

	c.devices.Listen, c.devices.HTTPListen = at.Devices, ""
	c.devices.DBURL = "sqlite:" + file("device-registry.db")
	c.devices.TokenIssuer, c.devices.JWKSURL = issuer, at.JWKSURL
	c.devices.AuditKeyFile = file("audit-checkpoints.key")

	c.auth.Listen, c.auth.HTTPListen = at.Auth, p.addr(p.http)
	c.auth.DBURL, c.auth.RedisURL = "sqlite:"+file("auth.db"), ""
	c.auth.TokenIssuer = issuer
	c.auth.KeyFile, c.auth.OperatorJWK = file("auth-master.key"), file("operator.jwk.json")
	c.auth.CalloutSeed = file("nats-callout.seed")

	c.payments.Listen, c.payments.HTTPListen = at.Payments, ""
	c.payments.DBURL = "sqlite:" + file("payments.db")
	c.payments.SettleEvery, c.payments.SettleAfter = 5*time.Second, 5*time.Second // whoever tries settlements does not want to wait
	c.payments.TokenIssuer, c.payments.JWKSURL = issuer, at.JWKSURL

	c.notify.Listen, c.notify.HTTPListen = at.Notify, ""
	c.notify.DBURL = "sqlite:" + file("notify.db")
	c.notify.TokenIssuer, c.notify.JWKSURL = issuer, at.JWKSURL
	c.notify.CodeKeyFile, c.notify.NATSAccountsFile = file("notify-code.key"), file("nats.conf")
	c.notify.PublicNATSURL = at.NATSURL
	return c
}
