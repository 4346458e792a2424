package grpcapi

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

var presets = map[paymentsv1.LimitPreset]func() limit.Policy{
	paymentsv1.LimitPreset_LIMIT_PRESET_EU: limit.Europe,
	paymentsv1.LimitPreset_LIMIT_PRESET_CN: limit.China,
}

var countings = map[paymentsv1.ScaCounting]limit.Counting{
	paymentsv1.ScaCounting_SCA_COUNTING_UNSPECIFIED: limit.Either,
	paymentsv1.ScaCounting_SCA_COUNTING_EITHER:      limit.Either,
	paymentsv1.ScaCounting_SCA_COUNTING_AMOUNT:      limit.AmountOnly,
	paymentsv1.ScaCounting_SCA_COUNTING_TAPS:        limit.TapsOnly,
}

// SetLimitPolicy replaces the limits of a currency.
func (s *Server) SetLimitPolicy(ctx context.Context, in *paymentsv1.SetLimitPolicyRequest) (*paymentsv1.LimitPolicy, error) {
	currency := id(in.GetName())
	preset := presets[in.GetPreset()]
	if (preset == nil) == (in.GetPolicy() == nil) {
		return nil, fault.InvalidField("policy", "either a policy or a preset has to be given, and not both")
	}
	counts, _ := proto.Clone(in).(*paymentsv1.SetLimitPolicyRequest)
	if p := counts.GetPolicy(); p != nil {
		p.Name, p.UpdateTime = "", nil // ignored, so they make no other request
	}
	req, err := request(caller(ctx), paymentsv1.PaymentsService_SetLimitPolicy_FullMethodName, counts)
	if err != nil {
		return nil, err
	}
	if preset != nil {
		return policy(s.payments.SetPreset(ctx, req, currency, preset(), s.now()))
	}
	return policy(s.payments.SetPolicy(ctx, req, fromPolicy(currency, in.GetPolicy()), s.now()))
}

// GetLimitPolicy reads the limits of a currency.
func (s *Server) GetLimitPolicy(ctx context.Context, in *paymentsv1.GetLimitPolicyRequest) (*paymentsv1.LimitPolicy, error) {
	return policy(s.payments.Policy(ctx, id(in.GetName())))
}

// ListLimitPolicies lists all limits.
func (s *Server) ListLimitPolicies(ctx context.Context, _ *paymentsv1.ListLimitPoliciesRequest) (*paymentsv1.ListLimitPoliciesResponse, error) {
	list, err := s.books.Policies(ctx)
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.ListLimitPoliciesResponse{}
	for _, p := range list {
		out.Policies = append(out.Policies, bus.PolicyProto(p))
	}
	return out, nil
}

// DeleteLimitPolicy ends all limits of a currency.
func (s *Server) DeleteLimitPolicy(ctx context.Context, in *paymentsv1.DeleteLimitPolicyRequest) (*paymentsv1.DeleteLimitPolicyResponse, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_DeleteLimitPolicy_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	if err := s.books.DeletePolicy(ctx, req, id(in.GetName())); err != nil {
		return nil, err
	}
	return &paymentsv1.DeleteLimitPolicyResponse{}, nil
}

func fromPolicy(currency string, in *paymentsv1.LimitPolicy) limit.Policy {
	out := limit.Policy{
		Currency: currency, TapLimit: in.GetTapLimit(), AccountDayLimit: in.GetAccountDayLimit(),
		DeviceDayLimit: in.GetDeviceDayLimit(), TimeZone: in.GetTimeZone(),
	}
	for _, c := range in.GetCategoryLimits() {
		out.Categories = append(out.Categories, limit.Category{
			First: c.GetFirstCategoryCode(), Last: c.GetLastCategoryCode(), TapLimit: c.GetTapLimit(), DayLimit: c.GetDayLimit(),
		})
	}
	if sa := in.GetStrongAuthentication(); sa != nil {
		out.Strong = &limit.Strong{
			TapThreshold: sa.GetTapThreshold(), CumulativeThreshold: sa.GetCumulativeThreshold(), ConsecutiveTaps: sa.GetConsecutiveTaps(),
			Counting: countings[sa.GetCounting()], Level: int(sa.GetAssuranceLevel()), Exempt: sa.GetExemptCategoryCodes(),
		}
	}
	return out
}

func policy(p limit.Policy, err error) (*paymentsv1.LimitPolicy, error) {
	if err != nil {
		return nil, err
	}
	return bus.PolicyProto(p), nil
}
