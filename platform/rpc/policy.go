package rpc

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Rule says who may call one method.
type Rule struct {
	// Roles are the roles that may call it.
	Roles []Role
	// Services are the services that may call it when Roles has RoleService. It cannot be empty then.
	Services []string
	// Scope is what a partner's token has to grant; other roles do not need it.
	Scope string
	// Support opens a method that changes something to operators whose role is support. Methods that only read, which AIP
	// names Get…, BatchGet…, List…, Watch…, Verify… or Explain…, are open to every operator's role where they are open to operators.
	Support bool
	// Public opens the method to anybody. No token is looked at, so a client whose token has expired can still call it.
	Public bool
}

// Policy is the table of who may call what: full method name ("/package.Service/Method") to rule.
type Policy map[string]Rule

var knownRoles = []Role{RoleOperator, RolePartner, RoleWearer, RoleTerminal, RoleService}

// Validate checks that each rule means something: a rule that nobody can satisfy, or that says less than it seems to, is
// a mistake in the table.
func (p Policy) Validate() error {
	var errs []error
	for method, r := range p {
		if err := r.validate(); err != nil {
			errs = append(errs, fmt.Errorf("policy of %s: %w", method, err))
		}
	}
	sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return errors.Join(errs...)
}

func (r Rule) validate() error {
	if r.Public {
		if len(r.Roles)+len(r.Services) > 0 || r.Support || r.Scope != "" {
			return errors.New("a public method cannot also name roles, services or a scope")
		}
		return nil
	}
	if len(r.Roles) == 0 {
		return errors.New("no role may call it; name at least one, or make it public")
	}
	for _, role := range r.Roles {
		if !slices.Contains(knownRoles, role) {
			return fmt.Errorf("unknown role %q", role)
		}
	}
	if r.Support && !slices.Contains(r.Roles, RoleOperator) {
		return errors.New("it is open to support but not to operators")
	}
	if slices.Contains(r.Roles, RoleService) != (len(r.Services) > 0) {
		return errors.New("role service and the names of services go together")
	}
	if r.Scope != "" && !slices.Contains(r.Roles, RolePartner) {
		return errors.New("a scope is named but no partner may call it")
	}
	return nil
}

// Missing lists the registered methods that the policy says nothing about, sorted.
func (p Policy) Missing(registered map[string]grpc.ServiceInfo) []string {
	var missing []string
	for service, info := range registered {
		for _, m := range info.Methods {
			full := "/" + service + "/" + m.Name
			if _, ok := p[full]; !ok && !isInfrastructure(full) {
				missing = append(missing, full)
			}
		}
	}
	sort.Strings(missing)
	return missing
}

// isInfrastructure recognises health and reflection. They are open to all, and need neither a deadline nor a policy.
func isInfrastructure(fullMethod string) bool {
	return strings.HasPrefix(fullMethod, "/grpc.health.v1.") || strings.HasPrefix(fullMethod, "/grpc.reflection.")
}

// mayOperate says whether an operator's role is enough for the method.
func (r Rule) mayOperate(role, method string) bool {
	switch role {
	case "", OperatorAdmin:
		return true
	case OperatorSupport:
		return r.Support || reads(method)
	case OperatorAuditor:
		return reads(method)
	}
	return false
}

func reads(fullMethod string) bool {
	name := fullMethod[strings.LastIndexByte(fullMethod, '/')+1:]
	return slices.ContainsFunc(readPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

var readPrefixes = []string{"Get", "BatchGet", "List", "Watch", "Verify", "Explain"}

// authorize decides whether the caller may call. The caller is nil when it is not known.
func (r Rule) authorize(c *Caller, method string) error {
	switch {
	case r.Public:
		return nil
	case c == nil || c.Role == "":
		return errCallerUnknown
	case !slices.Contains(r.Roles, c.Role),
		c.Role == RoleService && !slices.Contains(r.Services, c.ID),
		c.Role == RoleOperator && !r.mayOperate(c.Operator, method):
		return errCallerNotAllowed
	case c.Role == RolePartner && r.Scope != "" && !c.HasScope(r.Scope):
		return fault.New(fault.PermissionDenied, ReasonScopeMissing,
			"the token does not grant the scope %s; ask for a token with it", r.Scope).WithMeta("scope", r.Scope)
	}
	return nil
}
