package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func (a *app) devicesModels() *cobra.Command {
	c := &cobra.Command{Use: "models", Short: "Register kinds of bands, look at them, block one"}
	c.AddCommand(a.modelsCreate(), a.modelsList(), a.modelsGet(), a.modelsUpdate(), a.modelsStatus())
	return c
}

// facts are what the command line says of a model.
type facts struct {
	name                       string
	display, wrist             bool
	svn                        int32
	suites, sensors, proximity []string
}

func (f *facts) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "what people call it")
	c.Flags().BoolVar(&f.display, "display", false, "the band can show text")
	c.Flags().BoolVar(&f.wrist, "wrist-detection", false, "the band can tell that it is worn")
	c.Flags().Int32Var(&f.svn, "min-svn", 0, "the lowest firmware security version that may pay")
	c.Flags().StringSliceVar(&f.sensors, "sensors", nil, "what it measures: "+choices(devicesv1.Sensor_value, "SENSOR_"))
	c.Flags().StringSliceVar(&f.proximity, "proximity", nil, "how it proves to be near: "+choices(devicesv1.ProximityMethod_value, "PROXIMITY_METHOD_"))
}

func (f *facts) model() (*devicesv1.Model, error) {
	m := &devicesv1.Model{DisplayName: f.name, HasDisplay: f.display, HasWristDetection: f.wrist, MinSvn: f.svn}
	var err error
	if m.Suites, err = enums[devicesv1.Suite]("--suites", f.suites, devicesv1.Suite_value, "SUITE_"); err != nil {
		return nil, err
	}
	if m.Sensors, err = enums[devicesv1.Sensor]("--sensors", f.sensors, devicesv1.Sensor_value, "SENSOR_"); err != nil {
		return nil, err
	}
	m.ProximityMethods, err = enums[devicesv1.ProximityMethod]("--proximity", f.proximity, devicesv1.ProximityMethod_value, "PROXIMITY_METHOD_")
	return m, err
}

// enums reads names of an enum as people type them: in lower case, with hyphens and without the prefix.
func enums[E ~int32](flag string, names []string, values map[string]int32, prefix string) ([]E, error) {
	var out []E
	for _, name := range names {
		n, ok := values[prefix+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
		if !ok || n == 0 {
			return nil, usageError{fmt.Errorf("%s takes %s, not %q", flag, choices(values, prefix), name)}
		}
		out = append(out, E(n))
	}
	return out, nil
}

// enum is enums of one name.
func enum[E ~int32](flag, name string, values map[string]int32, prefix string) (E, error) {
	out, err := enums[E](flag, []string{name}, values, prefix)
	if err != nil {
		return 0, err
	}
	return out[0], nil
}

func choices(values map[string]int32, prefix string) string {
	names := slices.SortedFunc(maps.Keys(values), func(x, y string) int { return int(values[x] - values[y]) })
	var out []string
	for _, name := range names {
		if values[name] != 0 {
			out = append(out, strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", "-"))
		}
	}
	return strings.Join(out, ", ")
}

func (a *app) modelsCreate() *cobra.Command {
	m, f := &maker{}, &facts{}
	c := &cobra.Command{
		Use: "create MODEL", Short: "Register a kind of band", Args: cobra.ExactArgs(1),
		Example: "  armlet devices models create w2 --name 'W2 steel band' --suites ed25519,hmac-sha256 --display --sensors heart-rate",
		RunE: func(c *cobra.Command, args []string) error {
			model, err := f.model()
			if err != nil {
				return err
			}
			return a.acting(c.Context(), m, func(ctx context.Context, p *sdk.Client) error {
				made, err := p.Devices.CreateModel(ctx, &devicesv1.CreateModelRequest{
					Parent: m.name(), ModelId: args[0], Model: model, RequestId: sandbox.RequestID(),
				})
				return a.showModel(made, err)
			})
		},
	}
	m.flags(c)
	f.flags(c)
	c.Flags().StringSliceVar(&f.suites, "suites", []string{"hmac-sha256"}, "the suites it may use: "+choices(devicesv1.Suite_value, "SUITE_"))
	return c
}

// factPaths are the flags of facts and what they change.
var factPaths = map[string]string{
	"name": "display_name", "display": "has_display", "wrist-detection": "has_wrist_detection", "min-svn": "min_svn",
	"sensors": "sensors", "proximity": "proximity_methods",
}

func (a *app) modelsUpdate() *cobra.Command {
	m, f := &maker{}, &facts{}
	var etag string
	c := &cobra.Command{
		Use: "update MODEL", Short: "Change facts of a model: those that are named", Args: cobra.ExactArgs(1),
		Example: "  armlet devices models update w1 --min-svn 7",
		RunE: func(c *cobra.Command, args []string) error {
			model, err := f.model()
			if err != nil {
				return err
			}
			mask := &fieldmaskpb.FieldMask{}
			for _, flag := range slices.Sorted(maps.Keys(factPaths)) {
				if c.Flags().Changed(flag) {
					mask.Paths = append(mask.Paths, factPaths[flag])
				}
			}
			model.Name, model.Etag = m.under("models", args[0]), etag
			return a.acting(c.Context(), m, func(ctx context.Context, p *sdk.Client) error {
				changed, err := p.Devices.UpdateModel(ctx, &devicesv1.UpdateModelRequest{Model: model, UpdateMask: mask, RequestId: sandbox.RequestID()})
				return a.showModel(changed, err)
			})
		},
	}
	m.flags(c)
	f.flags(c)
	c.Flags().StringVar(&etag, "etag", "", "refuse when the model was changed since it had this etag")
	return c
}

func (a *app) modelsStatus() *cobra.Command {
	var note string
	c := &cobra.Command{
		Use: "status MODEL STATUS", Short: "Block every band of a model at once, or free them, as the operator", Args: cobra.ExactArgs(2),
		Long:    "Set the status of a model, as the operator: " + choices(devicesv1.ModelStatus_value, "MODEL_STATUS_") + ".\nIt acts on every band of the model at once.",
		Example: "  armlet devices models status w1 blocked --note 'firmware 6 pays twice'",
		RunE: func(c *cobra.Command, args []string) error {
			status, err := enum[devicesv1.ModelStatus]("STATUS", args[1], devicesv1.ModelStatus_value, "MODEL_STATUS_")
			if err != nil {
				return err
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				changed, err := s.Operator.Devices.SetModelStatus(ctx, &devicesv1.SetModelStatusRequest{
					Name: sandboxName("models", args[0]), Status: status, Note: note, RequestId: sandbox.RequestID(),
				})
				return a.showModel(changed, err)
			})
		},
	}
	c.Flags().StringVar(&note, "note", "", "why, for the record")
	return c
}

func (a *app) modelsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL", Short: "Show one model", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				m, err := s.Operator.Devices.GetModel(ctx, &devicesv1.GetModelRequest{Name: sandboxName("models", args[0])})
				return a.showModel(m, err)
			})
		},
	}
}

func (a *app) modelsList() *cobra.Command {
	var partner, token string
	var size int32
	c := &cobra.Command{Use: "list", Short: "List the models of a partner", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			page, err := s.Operator.Devices.ListModels(ctx, &devicesv1.ListModelsRequest{Parent: named("partners/", partner), PageSize: size, PageToken: token})
			if err != nil {
				return err
			}
			return a.printer().message(page, func(w io.Writer) {
				writeModels(w, page.GetModels()...)
				more(w, page.GetNextPageToken())
			})
		})
	}}
	c.Flags().StringVar(&partner, "partner", "sandbox", "whose")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) showModel(m *devicesv1.Model, err error) error {
	if err != nil {
		return err
	}
	return a.printer().message(m, func(w io.Writer) { writeModels(w, m) })
}

func writeModels(w io.Writer, models ...*devicesv1.Model) {
	rows := make([][]string, 0, len(models))
	for _, m := range models {
		var suites []string
		for _, s := range m.GetSuites() {
			suites = append(suites, state(s.String(), "SUITE_"))
		}
		rows = append(rows, []string{
			m.GetName(), m.GetDisplayName(), state(m.GetStatus().String(), "MODEL_STATUS_"), strings.Join(suites, ","), fmt.Sprint(m.GetMinSvn()),
		})
	}
	table(w, []string{"MODEL", "NAME", "STATUS", "SUITES", "MIN SVN"}, rows)
}

// sandboxName lets people type the last part of a name of the sandbox's partner.
func sandboxName(kind, arg string) string { return (&maker{partner: "sandbox"}).under(kind, arg) }
