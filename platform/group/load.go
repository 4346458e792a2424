package group

import "context"

// Load is a group of reads by key: of callers that want the same key one is asked for. find gives what it found of the keys, which
// are all different; what it does not give fails with missing.
func Load[K comparable, V any](cfg Config, missing error, find func(ctx context.Context, keys []K) (map[K]V, error)) *Group[K, V] {
	return New(cfg, func(ctx context.Context, calls []*Call[K, V]) error {
		keys := make([]K, 0, len(calls))
		asked := make(map[K]struct{}, len(calls))
		for _, c := range calls {
			if _, ok := asked[c.In]; !ok {
				asked[c.In] = struct{}{}
				keys = append(keys, c.In)
			}
		}
		found, err := find(ctx, keys)
		if err != nil {
			return err
		}
		for _, c := range calls {
			var ok bool
			if c.Out, ok = found[c.In]; !ok {
				c.Err = missing
			}
		}
		return nil
	})
}
