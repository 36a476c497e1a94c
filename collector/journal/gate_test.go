package journal

import "sync/atomic"

// gate is a disk that stops before one sync.
type gate struct {
	*faulty
	armed         atomic.Bool
	reached, pass chan struct{}
}

type gateFile struct {
	file
	g *gate
}

func (g *gate) create(path string) (file, error) {
	f, err := g.faulty.create(path)
	if err != nil {
		return nil, err
	}
	return &gateFile{f, g}, nil
}

func (g *gate) open(path string) (file, error) {
	f, err := g.faulty.open(path)
	if err != nil {
		return nil, err
	}
	return &gateFile{f, g}, nil
}

func (f *gateFile) sync() error {
	if f.g.armed.CompareAndSwap(true, false) {
		close(f.g.reached)
		<-f.g.pass
	}
	return f.file.sync()
}
