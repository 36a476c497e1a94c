package main

import "io"

// newSource returns r as a source.
func newSource(r io.Reader) (source, error) { return newPipe(r), nil }
