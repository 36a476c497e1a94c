package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// measureIdle connects many idle agents at once and looks at what the collector
// needs for them: to secure and welcome them, in memory, and to keep them at the
// default heartbeat.
func (b *bench) measureIdle(w io.Writer) error {
	fmt.Fprintf(w, "idle: %d agents, one lane each, connected at once and left alone, heartbeat 30 s\n", b.agents)
	fmt.Fprintf(w, "%-8s %14s %16s %18s %18s %14s %16s\n", "link", "connected in", "collector CPU", "RSS an agent", "RSS, collected", "CPU of a core", "bytes/heartbeat")
	for _, plain := range []bool{true, false} {
		if err := b.idle(w, plain); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	return nil
}

func (b *bench) idle(w io.Writer, plain bool) (err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return err
	}
	defer remove()
	if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
		return err
	}
	c, err := start("collector")
	if err != nil {
		return err
	}
	defer c.kill()
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	if _, err := call[Nothing](c, "Open", Serving{Dir: dir, Address: addr, TLS: !plain, Unidentified: 1024}); err != nil {
		return err
	}
	fleet, err := start("fleet")
	if err != nil {
		return err
	}
	defer fleet.kill()
	empty, err := resident(c.pid())
	if err != nil {
		return err
	}
	before, err := usageOf(c.pid())
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := call[Nothing](fleet, "Connect", Crowd{Dir: filepath.Join(dir, "journal"), Address: addr, Agents: b.agents, Plain: plain}); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := usageOf(c.pid())
	if err != nil {
		return err
	}
	// Two heartbeats, in which the runtime collects by itself.
	time.Sleep(10 * time.Second)
	said, err := call[FleetReport](fleet, "Report", Nothing{})
	if err != nil {
		return err
	}
	idle, err := usageOf(c.pid())
	if err != nil {
		return err
	}
	const watched = 60 * time.Second
	time.Sleep(watched)
	end, err := usageOf(c.pid())
	if err != nil {
		return err
	}
	held, err := resident(c.pid())
	if err != nil {
		return err
	}
	report, err := call[FleetReport](fleet, "Report", Nothing{})
	if err != nil {
		return err
	}
	if _, err := call[Nothing](c, "Collect", Nothing{}); err != nil {
		return err
	}
	collected, err := resident(c.pid())
	if err != nil {
		return err
	}
	if report.Lost > 0 {
		return fmt.Errorf("%d links were lost meanwhile", report.Lost)
	}
	name := "TLS 1.3"
	if plain {
		name = "plain"
	}
	n := float64(b.agents)
	fmt.Fprintf(w, "%-8s %14s %13.2f ms %15.1f KB %15.1f KB %12.1f %% %14.0f B\n", name, took.Round(100*time.Millisecond),
		(after.CPU-before.CPU).Seconds()*1000/n, float64(held-empty)/n/1000, float64(collected-empty)/n/1000,
		100*(end.CPU-idle.CPU).Seconds()/watched.Seconds(), float64(report.Bytes-said.Bytes)/n/(watched.Seconds()/30))
	return nil
}

// freeAddress returns a loopback address on which nothing listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
