package collector_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
)

// counting is a store of one's own: it prints what another store has made
// durable. A store from scratch implements every method, and its tests run
// storetest.Run.
type counting struct{ collector.Store }

func (c counting) Append(ctx context.Context, s collector.Session, list []collector.Append) ([]collector.Answer, error) {
	answers, err := c.Store.Append(ctx, s, list)
	for i := range answers {
		fmt.Printf("%s, lane %s: stored up to %d\n", s.Agent, list[i].Lane, answers[i].W)
	}
	return answers, err
}

// A collector inside another program.
func ExampleServer() {
	srv, err := collector.New(collector.Config{InsecurePlaintext: true,
		Store:  counting{storetest.NewMemory()}, // journal.Open gives one that keeps
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, ln) }()

	sendThree(ln.Addr().String()) // an agent, here by hand

	for _, a := range srv.Agents() {
		fmt.Println(a.ID, "is", a.State)
	}
	stop()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	// Output:
	// pump-7, lane default: stored up to 3
	// pump-7 is online
}
