package bulk

// CutAfter makes chunks of n rows, so that a short file has many.
func (i *Import) CutAfter(n int) { i.chunkRows = n }
