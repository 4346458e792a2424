package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

func (a *app) limitsCommand() *cobra.Command {
	c := &cobra.Command{Use: "limits", Short: "See and set what payments in a currency may be"}
	c.AddCommand(
		operating(a, "list", "List the limits of all currencies that have some", cobra.NoArgs, func(ctx context.Context, p paymentsv1.PaymentsServiceClient, _ []string) (*paymentsv1.ListLimitPoliciesResponse, error) {
			return p.ListLimitPolicies(ctx, &paymentsv1.ListLimitPoliciesRequest{})
		}, func(w io.Writer, list *paymentsv1.ListLimitPoliciesResponse) { showLimits(w, list.GetPolicies()...) }),
		operating(a, "get CURRENCY", "Show the limits of one currency", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.LimitPolicy, error) {
			return p.GetLimitPolicy(ctx, &paymentsv1.GetLimitPolicyRequest{Name: named("limitPolicies/", args[0])})
		}, func(w io.Writer, l *paymentsv1.LimitPolicy) { showLimits(w, l) }),
		a.limitsSet(), a.limitsDelete())
	return c
}

func showLimits(w io.Writer, list ...*paymentsv1.LimitPolicy) {
	rows := make([][]string, 0, len(list))
	for _, l := range list {
		currency := strings.TrimPrefix(l.GetName(), "limitPolicies/")
		bound := func(minor int64) string {
			if minor == 0 {
				return "-"
			}
			return money(&typev1.Money{MinorUnits: minor, CurrencyCode: currency})
		}
		strong := "never"
		if s := l.GetStrongAuthentication(); s != nil {
			strong = fmt.Sprintf("above %s, after %s or %d taps", bound(s.GetTapThreshold()), bound(s.GetCumulativeThreshold()), s.GetConsecutiveTaps())
		}
		rows = append(rows, []string{
			currency, bound(l.GetTapLimit()), bound(l.GetAccountDayLimit()), bound(l.GetDeviceDayLimit()), fmt.Sprint(len(l.GetCategoryLimits())),
			strong, either(l.GetTimeZone(), "UTC"),
		})
	}
	table(w, []string{"CURRENCY", "A TAP", "ACCOUNT A DAY", "DEVICE A DAY", "CATEGORY LIMITS", "STRONG AUTHENTICATION", "DAY BY"}, rows)
}

func (a *app) limitsSet() *cobra.Command {
	var preset, file, zone, tap, account, device, id string
	c := operating(a, "set CURRENCY", "Replace the limits of a currency", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.LimitPolicy, error) {
		req := &paymentsv1.SetLimitPolicyRequest{Name: named("limitPolicies/", args[0]), RequestId: requestID(id)}
		var err error
		plain := tap+account+device+zone != ""
		switch {
		case preset != "" && file == "" && !plain:
			req.Preset, err = enum[paymentsv1.LimitPreset]("--preset", preset, paymentsv1.LimitPreset_value, "LIMIT_PRESET_")
		case file != "" && preset == "" && !plain:
			req.Policy, err = limitFile(file)
		case plain && preset == "" && file == "":
			currency := strings.TrimPrefix(req.GetName(), "limitPolicies/")
			req.Policy, err = limitFlags(currency, zone, tap, account, device)
		default:
			err = usageError{errors.New("give one of: --preset, --file, or limits one by one")}
		}
		if err != nil {
			return nil, err
		}
		return p.SetLimitPolicy(ctx, req)
	}, func(w io.Writer, l *paymentsv1.LimitPolicy) { showLimits(w, l) })
	c.Example = "  armlet limits set EUR --preset eu\n  armlet limits set CNY --tap 500 --account-day 2000 --time-zone Asia/Shanghai\n" +
		"  armlet limits get EUR -o json > eur.json   # change it\n  armlet limits set EUR --file eur.json"
	c.Flags().StringVar(&preset, "preset", "", "what a market's rules ask for: "+choices(paymentsv1.LimitPreset_value, "LIMIT_PRESET_"))
	c.Flags().StringVar(&file, "file", "", "the whole policy as JSON, as `limits get -o json` prints it")
	c.Flags().StringVar(&tap, "tap", "", "the most that a payment may be")
	c.Flags().StringVar(&account, "account-day", "", "the most that an account may pay in a day")
	c.Flags().StringVar(&device, "device-day", "", "the most that a device may pay in a day")
	c.Flags().StringVar(&zone, "time-zone", "", "whose clock a day follows; empty is UTC")
	return requestFlag(c, &id)
}

func limitFile(file string) (*paymentsv1.LimitPolicy, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError{err}
	}
	out := &paymentsv1.LimitPolicy{}
	if err := protojson.Unmarshal(text, out); err != nil {
		return nil, usageError{fmt.Errorf("%s is no limit policy: %w", file, err)}
	}
	return out, nil
}

func limitFlags(currency, zone, tap, account, device string) (*paymentsv1.LimitPolicy, error) {
	out := &paymentsv1.LimitPolicy{TimeZone: zone}
	for _, f := range []struct {
		text string
		into *int64
	}{{tap, &out.TapLimit}, {account, &out.AccountDayLimit}, {device, &out.DeviceDayLimit}} {
		if f.text == "" {
			continue
		}
		m, err := parseAmount(f.text, currency)
		if err != nil {
			return nil, err
		}
		*f.into = m.GetMinorUnits()
	}
	return out, nil
}

func (a *app) limitsDelete() *cobra.Command {
	var id string
	return requestFlag(operating(a, "delete CURRENCY", "End all limits of a currency", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.DeleteLimitPolicyResponse, error) {
		return p.DeleteLimitPolicy(ctx, &paymentsv1.DeleteLimitPolicyRequest{Name: named("limitPolicies/", args[0]), RequestId: requestID(id)})
	}, func(w io.Writer, _ *paymentsv1.DeleteLimitPolicyResponse) { fmt.Fprintln(w, "no limits any more") }), &id)
}
