package agent_test

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
)

// A message is accepted without any collector in reach, and stored as soon as
// one is.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	address, stop := startCollector(ctx)
	defer stop()

	a, err := agent.Open(ctx, agent.Config{ID: "pump-7", Dir: dir, Collectors: []string{address}, InsecurePlaintext: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	fmt.Println("accepted:", a.Send(ctx, agent.Message{Topic: "pump/pressure", Body: []byte("3.2 bar")}))
	fmt.Println("stored:", a.Flush(ctx))
	fmt.Println("backlog:", a.Status().Lanes[0].Backlog)
	// Output:
	// accepted: <nil>
	// stored: <nil>
	// backlog: 0
}

// One goroutine can keep the disk busy: messages that are handed over while a
// commit runs share the next one.
func ExampleAgent_SendAsync() {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	a, err := agent.Open(context.Background(), agent.Config{ID: "pump-7", Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	const n = 1000
	results := make(chan error, n)
	for i := range n {
		a.SendAsync(agent.Message{Body: fmt.Appendf(nil, "reading %d", i)}, func(err error) { results <- err })
	}
	accepted := 0
	for range n {
		if <-results == nil {
			accepted++
		}
	}
	fmt.Println(accepted, "accepted")
	fmt.Println("closed:", a.Close())
	// Output:
	// 1000 accepted
	// closed: <nil>
}

// startCollector serves a collector with a store in memory on loopback.
func startCollector(ctx context.Context) (address string, stop func()) {
	server, err := collector.New(collector.Config{InsecurePlaintext: true, Store: storetest.NewMemory()})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- server.Serve(ctx, l) }()
	return l.Addr().String(), func() { cancel(); <-done }
}
