package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/story"
)

func (a *app) demoCommand() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Tell the story of a tap against a real suite in a temporary folder",
		Long: `Tell the story of a tap against a real suite in a temporary folder.

Every line is a real call to the running suite; anything that goes wrong ends the
story with a line that says where, and exit code 1. The folder is removed afterwards.`,
		RunE: func(c *cobra.Command, _ []string) error {
			level := slog.LevelError
			if verbose {
				level = slog.LevelInfo
			}
			log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
			return asFailure(story.Tell(c.Context(), a.out, log))
		},
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the suite's own log")
	return c
}

// failure hides the status of an error, so that a demo that failed always exits 1.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }

func asFailure(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}
