package queue_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

func Example() {
	dir, err := os.MkdirTemp("", "lane")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	q, err := queue.Open(ctx, queue.Config{Dir: dir, Agent: "pump-7", Lane: wire.DefaultLane})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()

	err = q.Put(ctx, wire.Message{Topic: "pressure", Time: time.Now(), Body: []byte("4.2 bar")})
	fmt.Println("on disk:", err == nil)

	entry, ok, err := q.Next(q.Streams()[0].Epoch, 1)
	fmt.Println("to send:", ok, entry.From, entry.To, err)
	fmt.Println("backlog:", q.Stats().Backlog)
	// Output:
	// on disk: true
	// to send: true 1 1 <nil>
	// backlog: 1
}
