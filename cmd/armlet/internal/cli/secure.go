package cli

import (
	"crypto/tls"
	"errors"
	"os"

	"github.com/spf13/pflag"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/sdk"
)

// secureFlags are the files of TLS. Each can also be named by the environment, so that a shell says it once.
type secureFlags struct{ ca, cert, key string }

func (f *secureFlags) on(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "tls-ca", os.Getenv("ARMLET_TLS_CA"), "connect with TLS to services that this authority (PEM) vouches for ($ARMLET_TLS_CA)")
	flags.StringVar(&f.cert, "tls-cert", os.Getenv("ARMLET_TLS_CERT"), "show this certificate (PEM), where one is asked for ($ARMLET_TLS_CERT)")
	flags.StringVar(&f.key, "tls-key", os.Getenv("ARMLET_TLS_KEY"), "its key (PEM) ($ARMLET_TLS_KEY)")
}

// config is nil when the suite is to be spoken to in clear text.
func (f *secureFlags) config() (*tls.Config, error) {
	switch {
	case (f.cert == "") != (f.key == ""):
		return nil, usageError{errors.New("--tls-cert and --tls-key go together")}
	case f.ca == "" && f.cert != "":
		return nil, usageError{errors.New("--tls-cert needs --tls-ca, by which the services are known")}
	case f.ca == "":
		return nil, nil //nolint:nilnil // clear text
	}
	return rpc.ClientTLS(f.cert, f.key, f.ca)
}

// options are those of every connection to the suite.
func (f *secureFlags) options() ([]sdk.Option, error) {
	config, err := f.config()
	if err != nil || config == nil {
		return nil, err
	}
	return []sdk.Option{sdk.WithTLS(config)}, nil
}
